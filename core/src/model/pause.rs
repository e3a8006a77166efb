//! Owns the pause: a job, or one scope of it, that plans nothing and whose planned executions wait.
//!
//! A pause that was lifted stays as a record of who stopped what, and for how long, until it is older than edits are kept
//! (`Settings::keep_edits`).

use serde::{Deserialize, Serialize};

use super::{JobName, RequestId, Scope, Timestamp};

/// A pause, in force until it is lifted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Debug)]
pub struct Pause {
    /// The request that made it.
    pub id: RequestId,
    /// The job.
    pub job: JobName,
    /// The scope; `None`: all scopes of the job, also those to come.
    pub scope: Option<Scope>,
    /// When it began, by the database clock.
    pub paused_at: Timestamp,
    /// Who asked for it.
    pub paused_by: String,
    /// When it was lifted; `None`: it is in force.
    pub resumed_at: Option<Timestamp>,
    /// Who lifted it.
    pub resumed_by: Option<String>,
}

impl Pause {
    /// True while it holds something back.
    pub const fn is_in_force(&self) -> bool {
        self.resumed_at.is_none()
    }

    /// True when it is in force and holds this scope of this job.
    pub fn holds(&self, job: &JobName, scope: &Scope) -> bool {
        self.is_in_force() && self.job == *job && self.scope.as_ref().is_none_or(|own| own == scope)
    }
}
