//! Owns how a schedule becomes data that a database keeps, and a schedule again. Knows neither scopes nor revisions.

use sha2::{Digest, Sha256};

use crate::{
    model::{Json, JsonError},
    plan::Schedule,
    store::{ScheduleData, SpecHash},
};

/// Why a schedule cannot be kept in a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredScheduleError {
    /// A hook is code.
    #[error("the schedule is a function (`{0}`), which a database cannot keep: use a cadence or a cron pattern")]
    IsCode(String),
    /// Its text cannot be kept.
    #[error("the schedule cannot be kept: {0}")]
    Text(#[from] JsonError),
    /// What the database keeps is not of this version, or not a schedule at all.
    #[error("what the database keeps is no schedule that this program knows: {0}")]
    Unreadable(String),
}

impl ScheduleData {
    /// A schedule as data. Equal schedules are equal data, however they were written.
    ///
    /// ```
    /// use tourbillon::{plan::{Cron, Schedule}, store::ScheduleData};
    /// let nightly: Schedule = Cron::new("@daily", "UTC")?.into();
    /// let data = ScheduleData::of(&nightly).unwrap();
    /// assert_eq!(data, ScheduleData::of(&Cron::new(" 0 0 * * *", "utc")?.into()).unwrap());
    /// assert_eq!(data.schedule().unwrap(), nightly);
    /// # Ok::<(), tourbillon::plan::CronError>(())
    /// ```
    ///
    /// # Errors
    /// [`StoredScheduleError`], for one that is code, or with a pattern of more text than a store keeps.
    pub fn of(schedule: &Schedule) -> Result<Self, StoredScheduleError> {
        if let Schedule::Hook(hook) = schedule {
            return Err(StoredScheduleError::IsCode(hook.version().to_owned()));
        }
        let value = serde_json::to_value(schedule).map_err(|_| StoredScheduleError::IsCode(schedule.to_string()))?;
        Ok(Self { json: Json::new(&value)?, hash: hash_of(schedule) })
    }

    /// The schedule.
    ///
    /// # Errors
    /// [`StoredScheduleError::Unreadable`], when another version of this program, or somebody by hand, wrote it.
    pub fn schedule(&self) -> Result<Schedule, StoredScheduleError> {
        serde_json::from_str(self.json.as_str()).map_err(|error| StoredScheduleError::Unreadable(error.to_string()))
    }
}

/// What a cursor remembers of a schedule that a scope has to itself.
pub(super) fn hash_of(schedule: &Schedule) -> SpecHash {
    hash(&format!("{schedule:?}"))
}

pub(super) fn hash(text: &str) -> SpecHash {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    SpecHash(hex.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::Timestamp,
        plan::{Cadence, Cron, Fold, Gap, Hook},
    };

    #[test]
    fn what_is_kept_is_the_schedule_that_was_put() {
        let every = Cadence::new(Duration::from_secs(90)).expect("long enough");
        let nightly = Cron::new("30 2 * * *", "Europe/Berlin").expect("valid");
        let kept: Vec<Schedule> = vec![
            every.into(),
            every.anchored_at(Timestamp::from_secs(7)).into(),
            nightly.clone().into(),
            nightly.gap(Gap::Skip).fold(Fold::Both).into(),
        ];
        let mut hashes = Vec::new();
        for schedule in &kept {
            let data = ScheduleData::of(schedule).expect("it is data");
            assert_eq!(&data.schedule().expect("it was just written"), schedule);
            assert!(!hashes.contains(&data.hash), "{schedule}");
            hashes.push(data.hash);
        }
    }

    #[test]
    fn what_is_no_data_is_refused_with_the_mend() {
        let hook = Hook::new("v1", |_, _, _| Vec::new());
        let refused = ScheduleData::of(&hook.into()).expect_err("code");
        assert_eq!(
            refused.to_string(),
            "the schedule is a function (`v1`), which a database cannot keep: use a cadence or a cron pattern"
        );
        let unknown = ScheduleData { json: Json::from_stored(r#"{"moon":"full"}"#), hash: hash("moon") };
        let refused = unknown.schedule().expect_err("unknown").to_string();
        assert!(refused.starts_with("what the database keeps is no schedule that this program knows: "), "{refused}");
    }
}
