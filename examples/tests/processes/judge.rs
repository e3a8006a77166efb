//! Judges a listing and the logged handler starts. Pure: knows no process and no store.

use std::collections::BTreeMap;

use tourbillon::model::{
    Audit, Execution, ExecutionId, Fence, JobName, NewExecution, Policy, Reentry, Scope, State, Supersede, Timestamp,
};

use crate::replica::Start;

/// Nothing failed: each row either ran exactly once or, planned just before the processes were stopped, not at all.
pub(crate) fn ran_once_or_waits(rows: &[&Execution], starts: &[Start]) -> Result<(), String> {
    let by_id = starts_by_id(starts);
    for row in rows {
        let logged = by_id.get(&row.id).map_or(&[][..], Vec::as_slice);
        match row.state {
            State::Succeeded => {
                let counted = (row.attempt, row.fence.0, logged.len());
                if counted != (1, 1, 1) {
                    return Err(format!("{} ran more than once: attempt, fence, starts are {counted:?}", name(row)));
                }
            }
            State::Scheduled if row.attempt == 0 && logged.is_empty() => {}
            state => return Err(format!("{} is {state} with {} starts", name(row), logged.len())),
        }
    }
    Ok(())
}

/// One process was killed: each row has succeeded, and the others started it at most once each.
pub(crate) fn nothing_is_lost(rows: &[&Execution], starts: &[Start], killed: usize) -> Result<(), String> {
    let by_id = starts_by_id(starts);
    for row in rows {
        let logged = by_id.get(&row.id).map_or(&[][..], Vec::as_slice);
        let by_survivors = logged.iter().filter(|start| start.replica != killed).count();
        let by_killed = logged.len() - by_survivors;
        if row.state != State::Succeeded || by_survivors > 1 || by_killed > 1 || logged.is_empty() {
            let state = row.state;
            return Err(format!("{} is {state}; started {by_killed} + {by_survivors} times", name(row)));
        }
        // Killed between the record of a start and the handler's first line: charged, and not in the log.
        if row.attempt > 2 || (logged.len() as u64) > u64::from(row.attempt) || row.fence.0 < u64::from(row.attempt) {
            return Err(format!("{}: attempt {} for {logged:?}", name(row), row.attempt));
        }
        let numbers: Vec<_> = logged.iter().map(|start| (start.replica == killed, start.fence)).collect();
        if let [(true, first), (false, second)] | [(false, second), (true, first)] = numbers[..]
            && second <= first
        {
            return Err(format!("{}: fence {second} after {first}", name(row)));
        }
    }
    Ok(())
}

/// Every slot from a scope's first to its last has exactly one row. At least one scope.
pub(crate) fn no_slot_is_missing(rows: &[&Execution], every_s: i64) -> Result<(), String> {
    let mut slots: BTreeMap<&Scope, Vec<Timestamp>> = BTreeMap::new();
    for row in rows {
        let slot = row.slot_at.ok_or_else(|| format!("{} has no slot", name(row)))?;
        slots.entry(&row.scope).or_default().push(slot);
    }
    if slots.is_empty() {
        return Err("there are no slots".to_owned());
    }
    for (scope, mut slots) in slots {
        slots.sort();
        for pair in slots.windows(2) {
            if pair[1].as_micros() - pair[0].as_micros() != every_s * 1_000_000 {
                return Err(format!("{scope}: after slot {} comes {}", pair[0], pair[1]));
            }
        }
    }
    Ok(())
}

fn starts_by_id(starts: &[Start]) -> BTreeMap<ExecutionId, Vec<&Start>> {
    let mut by_id: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for start in starts {
        by_id.entry(start.execution).or_default().push(start);
    }
    by_id
}

fn name(row: &Execution) -> String {
    let slot = row.slot_at.map_or("-".to_owned(), |at| at.to_string());
    format!("{} {} {slot} ({})", row.job, row.scope, row.id)
}

/// Each judgement accepts a good listing and refuses each way of falsifying it.
pub(crate) fn refuses_falsified_listings() -> Result<(), String> {
    let good: Vec<Execution> = (1..=3).map(succeeded).collect();
    let starts: Vec<Start> = good.iter().map(|row| started(row, 0)).collect();
    let once = |rows: &[Execution], starts: &[Start]| ran_once_or_waits(&rows.iter().collect::<Vec<_>>(), starts);
    let kept = |rows: &[Execution], starts: &[Start]| nothing_is_lost(&rows.iter().collect::<Vec<_>>(), starts, 1);
    let whole = |rows: &[Execution]| no_slot_is_missing(&rows.iter().collect::<Vec<_>>(), 1);

    let edited = |edit: fn(&mut Execution)| {
        let mut rows = good.clone();
        edit(&mut rows[1]);
        rows
    };
    let second_attempt = edited(|row| (row.attempt, row.fence) = (2, Fence(2)));
    let second_claim = edited(|row| row.fence = Fence(2));
    let held = edited(|row| row.state = State::Running);
    let twice = [&starts[..], &[started(&good[1], 2)]].concat();
    // Process 1 was killed in its handler, and process 0 took over.
    let mut takeover = twice.clone();
    (takeover[1].replica, takeover[3].replica, takeover[3].fence) = (1, 0, 2);
    let mut stale_fence = takeover.clone();
    stale_fence[3].fence = 1;

    let falsified = [
        ("a second attempt", once(&second_attempt, &starts)),
        ("a second claim", once(&second_claim, &starts)),
        ("a second start", once(&good, &twice)),
        ("a missing start", once(&good, &starts[1..])),
        ("a row still held", once(&held, &starts)),
        ("a row that never ended", kept(&held, &starts)),
        ("two starts by survivors", kept(&second_attempt, &twice)),
        ("a start that was not charged", kept(&good, &takeover)),
        ("a fence that did not grow", kept(&second_attempt, &stale_fence)),
        ("a success that nobody started", kept(&good, &starts[1..])),
        ("a missing slot", whole(&[good[0].clone(), good[2].clone()])),
        ("a slot made twice", whole(&[&good[..], &good[..1]].concat())),
        ("no slots", whole(&[])),
    ];
    if let Some((what, _)) = falsified.iter().find(|(_, judged)| judged.is_ok()) {
        return Err(format!("{what} was not noticed"));
    }
    once(&good, &starts)?;
    kept(&good, &starts)?;
    kept(&second_attempt, &takeover)?;
    whole(&good)
}

fn succeeded(second: i64) -> Execution {
    let policy = Policy {
        max_attempts: 3,
        lease_ms: 8_000,
        reentry: Reentry::Allow,
        supersede: Supersede::Never,
        limit: None,
        audit: Audit::Off,
    };
    let at = Timestamp::from_secs(second);
    let new = NewExecution {
        id: format!("00000000-0000-4000-8000-{second:012}").parse().expect("a UUID"),
        slot_at: Some(at),
        due_at: at,
        expires_at: None,
        priority: 0,
        payload: None,
        unique_key: None,
        policy,
    };
    let job = JobName::new("meter_usage").expect("a name");
    let fresh = Execution::fresh(job, Scope::global(), new, at);
    Execution { state: State::Succeeded, attempt: 1, fence: Fence(1), ..fresh }
}

fn started(row: &Execution, replica: usize) -> Start {
    let job = row.job.as_str().to_owned();
    Start { replica, job, execution: row.id, attempt: row.attempt, fence: row.fence.0 }
}
