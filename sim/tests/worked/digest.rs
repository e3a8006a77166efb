//! A digest of what happened since the last one. It looks right, and is, on one replica that never restarts.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tourbillon::prelude::*;
use tourbillon_sim::prelude::*;

use super::MINUTE;

pub(super) fn simulation(app: fn(&Host) -> Scheduler) -> Simulation {
    Simulation::new("digest")
        .lasting(10 * MINUTE)
        .receiver("smtp")
        .app(app)
        .expect(effects("smtp").per_key().at_most_one_plus_unmarked())
        .expect(slots("digest").settled())
}

fn scheduler(host: &Host, job: Job) -> Scheduler {
    Scheduler::builder(host.store()).runtime(host.runtime()).job(job).build().expect("the rules of the job hold")
}

/// Announces the news of each minute after `since`, up to `until`.
async fn announce(smtp: &Client, ctx: &Context, since: Timestamp, until: Timestamp) -> Result<(), HandlerError> {
    let mut minute = since;
    while minute < until {
        minute = minute + MINUTE;
        smtp.send(ctx, format!("news of {minute}")).await?;
    }
    Ok(())
}

/// The bug: what was sent last is known to the process that sent it, and to no other.
pub(super) fn forgetful(host: &Host) -> Scheduler {
    let smtp = host.receiver("smtp");
    let last_sent = Arc::new(Mutex::new(None));
    let job = Job::new("digest").every(MINUTE).run(move |ctx: Context| {
        let (smtp, last_sent) = (smtp.clone(), Arc::clone(&last_sent));
        async move {
            let until = ctx.slot_at().expect("a planned job has slots");
            let since = last_sent.lock().expect("nobody panics with it").unwrap_or(until - MINUTE);
            announce(&smtp, &ctx, since, until).await?;
            *last_sent.lock().expect("nobody panics with it") = Some(until);
            Ok::<_, HandlerError>(())
        }
    });
    scheduler(host, job)
}

/// Each slot announces the minute before it, whoever runs it; slots that were missed are made up for.
pub(super) fn mended(host: &Host) -> Scheduler {
    let smtp = host.receiver("smtp");
    let catch_up = CatchUp::EverySlot { window: Duration::from_secs(86_400), max_slots: 10 };
    let job = Job::new("digest").every(MINUTE).catch_up(catch_up).run(move |ctx: Context| {
        let smtp = smtp.clone();
        async move {
            let until = ctx.slot_at().expect("a planned job has slots");
            announce(&smtp, &ctx, until - MINUTE, until).await
        }
    });
    scheduler(host, job)
}
