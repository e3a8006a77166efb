//! Loops 6, 7 and 10 as documented: "duplicates ≤ N" for notifications, "duplicates" for the digest.

use super::Passed;
use crate::{
    operator::{
        desk::{Desk, is_done, odd},
        outside::Outside,
        tables::{RECIPIENTS, Reply, Verb},
    },
    world::Call,
};

/// Reads what is to be sent, sends it, and then says so.
pub(super) async fn send_notices(desk: &Desk, retries: bool) -> Passed {
    let notices = match desk.ask(Verb::ReadNotices { retries, as_of: desk.wall() }).await? {
        Reply::Notices(notices) => notices,
        other => return Err(odd(&other)),
    };
    for notice in &notices {
        let unit = desk.unit(notice.key.clone());
        let answer = desk.call(&unit, notice.channel.into(), Call::new(notice.key.clone())).await;
        unit.marking();
        let mark = Verb::MarkNotice { id: notice.id, attempt: None, sent: is_done(&answer) };
        if let Err(error) = desk.ask(mark).await {
            desk.shrug("mark a notification", &error);
        }
    }
    Ok(notices.len() as u64)
}

/// One e-mail to everybody; nobody writes down that it was sent.
pub(super) async fn send_digest(desk: &Desk) -> Passed {
    for recipient in 0..RECIPIENTS {
        let unit = desk.unit(format!("recipient {recipient}"));
        if let Err(error) = desk.call(&unit, Outside::Mail, Call::new(format!("digest {recipient}"))).await {
            desk.shrug("send a digest", &error);
        }
    }
    Ok(RECIPIENTS.into())
}
