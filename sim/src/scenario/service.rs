//! Owns how a `[[service]]` table becomes a service, with the defaults of `tourbillon::service::Service`.

use std::time::Duration;

use tourbillon::{
    model::ServiceName,
    service::{FirstTick, HaMode},
};

use super::{
    error::ScenarioError,
    job::{idle, read_work},
    shape::ServiceShape,
    table::{Table, Value},
};

/// Keys of a `[[service]]`.
pub(super) const SERVICE_KEYS: &[&str] = &["name", "every", "mode", "first", "timeout", "ttl", "work"];

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads one service. Its name is in every error.
pub(super) fn read_service(mut table: Table<'_, '_>) -> Result<ServiceShape, ScenarioError> {
    let named = table.need("name", "give each service a name of its own: `name = \"crl\"`")?;
    let name = named.text()?;
    ServiceName::new(name).map_err(|error| named.error(format!("service `{name}`: {error}")))?;
    table.what = format!("service `{name}`");
    let within = |value: &Value<'_, '_>| value.duration_within(MILLISECOND, DAY);
    let service = ServiceShape {
        name: name.to_owned(),
        every: within(&table.need("every", "say how far apart the ticks are: `every = \"1m\"`")?)?,
        mode: table.or("mode", HaMode::EveryReplica, read_mode)?,
        first: table.or("first", FirstTick::Jittered, |value| {
            let allowed = [
                ("jittered", FirstTick::Jittered),
                ("immediately", FirstTick::Immediately),
                ("after_interval", FirstTick::AfterInterval),
            ];
            value.one_of("first tick", &allowed)
        })?,
        timeout: table.or("timeout", Duration::from_secs(60), within)?,
        ttl: table.or("ttl", Duration::from_secs(30), read_ttl)?,
        work: table.or("work", idle(), read_work)?,
    };
    for (key, percent) in
        [("snoozes_percent", service.work.snoozes_percent), ("oversize_percent", service.work.oversize_percent)]
    {
        if percent > 0 {
            let message = format!("{}: `{key}` is for jobs: a tick keeps no row and no result", table.what);
            return Err(table.error_at("work", message));
        }
    }
    Ok(service)
}

/// A time to live that has room for the wire and the lane.
pub(super) fn read_ttl(value: &Value<'_, '_>) -> Result<Duration, ScenarioError> {
    value.duration_within(Duration::from_secs(1), DAY)
}

fn read_mode(value: &Value<'_, '_>) -> Result<HaMode, ScenarioError> {
    let allowed =
        [("every_replica", HaMode::EveryReplica), ("tick_lock", HaMode::TickLock), ("leader", HaMode::Leader)];
    value.one_of("mode", &allowed)
}
