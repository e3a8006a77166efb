//! PANIC: no task panicked. (The panics that a scenario plans are handler ends, not `Panicked` events.)

use super::{Findings, docket::Docket, track::Track};
use crate::history::What;

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("PANIC");
    docket.demand(true, &[], String::new);
    for (index, event) in track.history.events.iter().enumerate() {
        if let What::Panicked { message } = &event.what {
            docket.demand(false, &[index], || format!("a task on {} panicked: {message}", event.host));
        }
    }
    docket.close()
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use crate::history::What;

    #[test]
    fn any_panic_is_found() {
        let mut story = Story::new();
        story.is_fine();
        story.here(What::Panicked { message: "index out of bounds".to_owned() });
        story.flagged_by(&["PANIC"]);
    }
}
