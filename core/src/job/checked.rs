//! Owns a job whose rules hold: what the planner plans of it, scope by scope, which rows its slots become, and the
//! hashes by which edits are noticed.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{
    BoxError, Delivery, Overlap, ScheduleProvider, ScopeProvider,
    handler::HandlerFn,
    stored::{hash, hash_of},
    work::Work,
};
use crate::{
    model::{
        Audit, ExecutionId, JobName, Json, NewExecution, Policy, Reentry, Retention, Scope, Supersede, Timestamp,
    },
    plan::{Backoff, Begin, CatchUp, Planner, Schedule},
    store::{RegisteredRules, Registration, SpecHash, StoredSchedule},
};

/// A job whose rules hold.
#[derive(Clone)]
pub(crate) struct CheckedJob {
    pub(crate) name: JobName,
    pub(super) targets: Targets,
    pub(super) delay: Duration,
    pub(super) catch_up: CatchUp,
    pub(super) max_lateness: Option<Duration>,
    pub(super) begin: Begin,
    pub(crate) run_timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) reentry: Reentry,
    pub(crate) max_attempts: u32,
    pub(crate) delivery: Delivery,
    pub(crate) backoff: Backoff,
    pub(crate) overlap: Overlap,
    pub(crate) priority: i16,
    pub(crate) audit: Audit,
    pub(crate) handler: HandlerFn,
    /// Hashed once: every planning step compares it.
    pub(super) registration: OnceLock<Registration>,
    /// Made once, where nobody need be asked: every round of planning goes through them.
    pub(super) fixed_targets: OnceLock<BTreeMap<Scope, Target>>,
}

/// Who says which scopes there are, and whose schedule they have.
#[derive(Clone)]
pub(super) enum Targets {
    /// The job's, all of these.
    Fixed(Vec<Scope>, Schedule),
    /// The job's, all that it says.
    Scopes(Arc<dyn ScopeProvider>, Schedule),
    /// Each its own.
    Own(Arc<dyn ScheduleProvider>),
    /// Each the one that the database keeps for it.
    Stored,
}

/// What there is to plan for one scope.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) planner: Planner,
    /// Of the schedule that the scope has to itself.
    pub(crate) schedule_hash: Option<SpecHash>,
}

impl fmt::Debug for CheckedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedJob").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CheckedJob {
    /// The scopes as of now, each with what to plan for it. `stored` is what the database keeps for this job.
    pub(crate) async fn targets(
        &self,
        stored: &[StoredSchedule],
    ) -> Result<Cow<'_, BTreeMap<Scope, Target>>, BoxError> {
        let target = |scope, schedule: &Schedule| {
            (scope, Target { planner: self.planner(schedule.clone()), schedule_hash: None })
        };
        match &self.targets {
            Targets::Fixed(scopes, schedule) => {
                let make = || scopes.iter().map(|scope| target(scope.clone(), schedule)).collect();
                Ok(Cow::Borrowed(self.fixed_targets.get_or_init(make)))
            }
            Targets::Scopes(provider, schedule) => {
                let scopes = provider.scopes().await?;
                Ok(Cow::Owned(scopes.into_iter().map(|scope| target(scope, schedule)).collect()))
            }
            Targets::Own(provider) => {
                let mut targets = BTreeMap::new();
                for own in provider.schedules().await? {
                    let schedule_hash = Some(hash_of(&own.schedule));
                    let target = Target { planner: self.planner(own.schedule), schedule_hash };
                    if targets.insert(own.scope.clone(), target).is_some() {
                        return Err(format!(
                            "the scope `{}` has two schedules: give each a scope of its own",
                            own.scope
                        )
                        .into());
                    }
                }
                Ok(Cow::Owned(targets))
            }
            Targets::Stored => {
                Ok(Cow::Owned(stored.iter().filter_map(|stored| self.stored_target(stored)).collect()))
            }
        }
    }

    /// What to plan by a schedule that the database keeps; `None`, for this scope alone, when it cannot be read.
    fn stored_target(&self, stored: &StoredSchedule) -> Option<(Scope, Target)> {
        let data = stored.schedule.as_ref()?;
        match data.schedule() {
            Ok(schedule) => {
                let target = Target { planner: self.planner(schedule), schedule_hash: Some(data.hash.clone()) };
                Some((stored.scope.clone(), target))
            }
            Err(error) => {
                let (scope, revision) = (&stored.scope, stored.revision.0);
                tracing::error!(job = %self.name, %scope, revision, %error, "this scope is not planned now");
                None
            }
        }
    }

    /// Whether a function says which schedules scopes have to themselves, so that a scope that is gone is an edit. (What
    /// the database keeps is edited there, with the cursor.)
    pub(crate) fn has_own_schedules(&self) -> bool {
        matches!(self.targets, Targets::Own(_))
    }

    /// What is planned for every scope; `None` when scopes have schedules to themselves.
    pub(crate) fn fixed_planner(&self) -> Option<Planner> {
        match &self.targets {
            Targets::Fixed(_, schedule) | Targets::Scopes(_, schedule) => Some(self.planner(schedule.clone())),
            Targets::Own(_) | Targets::Stored => None,
        }
    }

    /// The scopes, where nobody need be asked for them.
    pub(crate) fn fixed_scopes(&self) -> Option<&[Scope]> {
        match &self.targets {
            Targets::Fixed(scopes, _) => Some(scopes),
            Targets::Scopes(..) | Targets::Own(_) | Targets::Stored => None,
        }
    }

    pub(crate) fn delay_ms(&self) -> u64 {
        u64::try_from(self.delay.as_millis()).unwrap_or(u64::MAX)
    }

    fn planner(&self, schedule: Schedule) -> Planner {
        let Self { delay, catch_up, max_lateness, begin, .. } = *self;
        Planner { schedule, delay, catch_up, max_lateness, begin }
    }

    /// The row that a slot becomes.
    pub(crate) fn execution(
        &self,
        planner: &Planner,
        id: ExecutionId,
        scope: &Scope,
        slot_at: Timestamp,
    ) -> NewExecution {
        NewExecution {
            id,
            slot_at: Some(slot_at),
            due_at: planner.due_at(slot_at),
            expires_at: planner.expires_at(slot_at),
            priority: self.priority,
            payload: None,
            unique_key: None,
            policy: self.policy(scope),
        }
    }

    fn policy(&self, scope: &Scope) -> Policy {
        // They are described once: each slot that is made asks.
        let rules = self.registration().rules.as_ref().expect("what is registered here has its rules");
        rules.policy(&self.name, scope)
    }

    /// What operators are told.
    fn rules(&self) -> RegisteredRules {
        let schedule = match &self.targets {
            Targets::Scopes(_, schedule) | Targets::Fixed(_, schedule) => schedule.to_string(),
            Targets::Own(_) => "each scope its own".to_owned(),
            Targets::Stored => "each scope its own, from the database".to_owned(),
        };
        RegisteredRules {
            schedule,
            planner: self.fixed_planner().and_then(|planner| described(&planner)),
            stored_schedules: matches!(self.targets, Targets::Stored),
            delay_ms: self.delay_ms(),
            priority: self.priority,
            max_attempts: self.max_attempts,
            lease_ms: u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX),
            reentry: self.reentry,
            supersede: match self.catch_up {
                CatchUp::LatestOnly => Supersede::ByNewerSlot,
                CatchUp::EverySlot { .. } => Supersede::Never,
            },
            max_overlap: match self.overlap {
                Overlap::Forbid => Some(1),
                Overlap::AtMost(max) => Some(max),
                Overlap::Allow => None,
            },
            audit: self.audit,
        }
    }

    /// What it takes to run its attempts.
    pub(crate) fn work(&self) -> Work {
        Work {
            run_timeout: self.run_timeout,
            heartbeat: self.heartbeat,
            backoff: self.backoff.clone(),
            handler: Arc::clone(&self.handler),
            delivery: self.delivery,
            retain: Retention::Everything,
            report: None,
        }
    }

    /// What the store is told, so that the latest deployment's rules win.
    pub(crate) fn registration(&self) -> &Registration {
        self.registration.get_or_init(|| self.hashed())
    }

    fn hashed(&self) -> Registration {
        let schedule = match &self.targets {
            Targets::Fixed(_, schedule) | Targets::Scopes(_, schedule) => format!("{schedule:?} {:?}", self.delay),
            // Theirs are compared cursor by cursor.
            Targets::Own(_) => format!("per scope {:?}", self.delay),
            Targets::Stored => format!("stored {:?}", self.delay),
        };
        let begin = match self.begin {
            Begin::CurrentSlot => "",
            Begin::NextSlot => " begins with its next slot",
        };
        let spec = format!(
            "{schedule}{begin} {:?} {:?} {:?} {:?} {:?} {} {:?} {:?} {} {:?}",
            self.catch_up,
            self.max_lateness,
            self.run_timeout,
            self.lease,
            self.reentry,
            self.max_attempts,
            self.backoff,
            self.overlap,
            self.priority,
            self.audit,
        );
        Registration {
            job: self.name.clone(),
            spec_hash: hash(&spec),
            schedule_hash: hash(&schedule),
            rules: Some(self.rules()),
        }
    }
}

/// A planner as data; `None` for one with code in it, and for a pattern of more text than a store keeps.
fn described(planner: &Planner) -> Option<Json> {
    if matches!(planner.schedule, Schedule::Hook(_)) {
        return None;
    }
    Json::new(&serde_json::to_value(planner).ok()?).ok()
}
