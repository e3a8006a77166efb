//! Those who edit the schedules that the database keeps for a job: one on every replica, all of the same mind, so that
//! they get in each other's way. Each looks what is there, and does what the scenario wants to be there by now.

use std::time::Duration;

use tourbillon::{
    driver::{JobOperator, ScheduleEdit},
    job::BoxError,
    service::{Service, Tick},
    store::{Expected, ScheduleData, ScheduleFilter, StoredSchedule},
};

use super::{JobShape, planned::there};
use crate::{chance, world::Host};

/// How often each looks.
const EVERY: Duration = Duration::from_secs(5);

/// The longest that one takes from a look to the edit.
const THINKS_MS: u64 = 4_000;

/// The editor of a job's schedules, as a service of one replica. Errors are the world's: the next tick goes on.
pub(super) fn service(shape: &JobShape, host: &Host) -> Service {
    let operator = JobOperator::new(host.store(), host.runtime()).named("editor").expect("a plain name");
    let (shape, host) = (shape.clone(), host.clone());
    Service::new(&format!("editor of {}", shape.name)).every(EVERY).timeout(Duration::from_secs(30)).run(
        move |tick: Tick| {
            let (operator, shape, host) = (operator.clone(), shape.clone(), host.clone());
            let (drawn, _) = tick.request().0.as_u64_pair();
            let thinks_ms = chance::between(chance::draw(host.seed(), "editor thinks", drawn, 0), 0, THINKS_MS);
            async move { edit(&operator, &shape, &host, Duration::from_millis(thinks_ms)).await }
        },
    )
}

/// Each edit expects what was read, so that it undoes nothing that came in between.
async fn edit(operator: &JobOperator, shape: &JobShape, host: &Host, thinks: Duration) -> Result<u64, BoxError> {
    let kept = operator.schedules(Some(&shape.name), ScheduleFilter::InForce).await?;
    let wanted: Vec<_> = there(&shape.schedules, host.true_time()).collect();
    host.runtime().sleep(thinks).await;
    let mut edits = 0;
    for own in &wanted {
        let found = kept.iter().find(|stored| stored.scope == own.scope);
        if found.and_then(|stored| stored.schedule.as_ref()) == Some(&ScheduleData::of(&own.schedule)?) {
            continue;
        }
        let expected = found.map_or(Expected::Nothing, |stored| Expected::Revision(stored.revision));
        let edit = ScheduleEdit::of(&shape.name, own.scope.clone()).expecting(expected);
        operator.put_schedule(edit, &own.schedule).await?;
        edits += 1;
    }
    let is_gone = |stored: &&StoredSchedule| wanted.iter().all(|own| own.scope != stored.scope);
    for stored in kept.iter().filter(is_gone) {
        let expected = Expected::Revision(stored.revision);
        operator.remove_schedule(ScheduleEdit::of(&shape.name, stored.scope.clone()).expecting(expected)).await?;
        edits += 1;
    }
    Ok(edits)
}
