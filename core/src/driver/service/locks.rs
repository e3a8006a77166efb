//! Which locks a scheduler's services use together: every one has one user, every group exists (P-25).

use std::collections::BTreeMap;

use crate::{
    model::{LockName, ServiceName},
    service::{CheckedLeadership, CheckedMode, CheckedService, DEFAULT_GROUP, Leadership, ServiceError},
};

/// Checks groups and services against each other; adds the default group if a service needs it.
pub(in crate::driver) fn check(
    services: &BTreeMap<ServiceName, CheckedService>,
    groups: Vec<Leadership>,
) -> Result<BTreeMap<LockName, CheckedLeadership>, ServiceError> {
    let mut checked = BTreeMap::new();
    for group in groups {
        let group = group.check()?;
        let name = group.name.clone();
        if checked.insert(name.clone(), group).is_some() {
            return Err(ServiceError::DuplicateGroup(name));
        }
    }
    for (name, service) in services {
        let CheckedMode::Leader { group } = &service.mode else { continue };
        if group.as_str() == DEFAULT_GROUP && !checked.contains_key(group) {
            checked.insert(group.clone(), Leadership::new(DEFAULT_GROUP).check()?);
        }
        if !checked.contains_key(group) {
            return Err(ServiceError::UnknownGroup(name.clone(), group.clone()));
        }
    }
    let mut users: BTreeMap<LockName, String> =
        checked.keys().map(|group| (group.clone(), format!("leadership `{group}`"))).collect();
    for (name, service) in services {
        let CheckedMode::TickLock { lock, .. } = &service.mode else { continue };
        let second = format!("service `{name}`");
        if let Some(first) = users.insert(lock.clone(), second.clone()) {
            return Err(ServiceError::SharedLock { lock: lock.clone(), first, second });
        }
    }
    Ok(checked)
}
