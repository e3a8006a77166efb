//! PANIC: no task panicked, and none runs where pause, crash and shutdown do not reach it. (The panics that a scenario
//! plans are handler ends, not `Panicked` events.)

use super::{Findings, docket::Docket, topic::Topic, track::Track};
use crate::history::What;

pub(super) fn judge(track: &Track<'_>) -> Findings {
    let mut docket = Docket::new("PANIC");
    docket.demand(true, &[], String::new);
    for (index, event) in track.about(&[Topic::Other]) {
        match &event.what {
            What::Panicked { message } => {
                docket.demand(false, &[index], || format!("a task on {} panicked: {message}", event.host));
            }
            What::Strayed { tasks } => docket.demand(false, &[index], || {
                format!(
                    "{tasks} tasks on {} were started past the spawner, where no pause, crash or shutdown reaches them: \
                     start them with `Context::spawn`, `Tick::spawn` or `Runtime::spawn`, not with `tokio::spawn`",
                    event.host
                )
            }),
            _ => {}
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

    #[test]
    fn a_task_past_the_spawner_is_found() {
        let mut story = Story::new();
        story.here(What::Strayed { tasks: 1 });
        story.flagged_by(&["PANIC"]);
    }
}
