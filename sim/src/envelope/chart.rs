//! The envelope for people: a table in Markdown and a chart as one SVG that needs nothing else.

use std::fmt::Write as _;

use super::{Axis, Envelope, Reach};

/// A row per axis: the guarantees that flip, and how far all others were tried.
pub fn markdown(envelope: &Envelope) -> String {
    let mut text = format!(
        "# Safe envelope\n\nMade by `tourbillon sim envelope --out scenarios/tables`: {} seeds per value, {} runs. One thing is \
         moved at a time, on three replicas whose attempts and ticks use their leases up to the end.\n\n\
         | moved | breaks | holds up to | broken at | all others hold up to |\n| --- | --- | --- | --- | --- |\n",
        envelope.seeds, envelope.runs
    );
    for axis in axes(envelope) {
        let (_, _, last) = axis.range();
        let mut broken = flips(envelope, axis);
        broken.sort_by_key(|reach| reach.broke);
        if broken.is_empty() {
            let _ = writeln!(text, "| {} | nothing | | | {}, the largest tried |", axis.about(), axis.show(last));
        }
        for reach in broken {
            let (held, at) = (axis.show(reach.held), reach.broke.map_or_else(String::new, |at| axis.show(at)));
            let _ =
                writeln!(text, "| {} | {} | {held} | {at} | {} |", axis.about(), reach.guarantee, axis.show(last));
        }
    }
    text
}

/// A bar per axis on its own logarithmic scale: what held, and a mark where each guarantee broke first.
pub fn svg(envelope: &Envelope) -> String {
    let rows = axes(envelope).into_iter().map(|axis| {
        let mut broken = flips(envelope, axis);
        broken.sort_by_key(|reach| reach.broke);
        let broken = broken.into_iter().filter_map(|reach| Some((reach.guarantee.clone(), reach.broke?)));
        Bar { name: axis.about().to_owned(), axis, broken: broken.collect() }
    });
    bars("Safe envelope: how far each thing may go wrong, logarithmic", rows.collect())
}

/// One row of a chart.
pub(super) struct Bar {
    /// What it is called.
    pub(super) name: String,
    /// What is moved.
    pub(super) axis: Axis,
    /// What broke, and where; the first first.
    pub(super) broken: Vec<(String, i64)>,
}

/// A picture of these rows, on a logarithmic scale each.
pub(super) fn bars(title: &str, rows: Vec<Bar>) -> String {
    const WIDTH: f64 = 480.0;
    const LEFT: f64 = 330.0;
    let height = 40 + 34 * rows.len();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"22\" font-weight=\"bold\">{title}</text>\n"
    );
    for (row, Bar { name, axis, broken }) in rows.into_iter().enumerate() {
        let y = 40 + 34 * row;
        let (_, first, last) = axis.range();
        let place = |value: i64| {
            let (value, first, last) = (value.max(first) as f64, first as f64, last as f64);
            LEFT + WIDTH * (value / first).ln() / (last / first).ln()
        };
        let end = broken.first().map_or(LEFT + WIDTH, |(_, at)| place(*at));
        let _ = writeln!(text, "<text x=\"12\" y=\"{}\">{name}</text>", y + 16);
        let _ = writeln!(
            text,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{WIDTH}\" height=\"22\" fill=\"#eee\"/>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"22\" fill=\"#0072b2\"/>",
            end - LEFT
        );
        let names: Vec<_> = broken.iter().map(|(name, _)| name.as_str()).collect();
        let said = match broken.first() {
            Some((_, at)) => format!("{} at {}", names.join(", "), axis.show(*at)),
            None => format!("nothing up to {}", axis.show(last)),
        };
        for (_, at) in &broken {
            let x = place(*at);
            let _ = writeln!(text, "<path d=\"M{x:.1} {y}v22\" stroke=\"#d55e00\" stroke-width=\"3\"/>");
        }
        let _ = writeln!(text, "<text x=\"{}\" y=\"{}\">{said}</text>", LEFT + WIDTH + 8.0, y + 16);
    }
    text + "</svg>\n"
}

fn axes(envelope: &Envelope) -> Vec<Axis> {
    Axis::ALL.iter().copied().filter(|axis| envelope.reaches.iter().any(|reach| reach.axis == *axis)).collect()
}

fn flips(envelope: &Envelope, axis: Axis) -> Vec<&Reach> {
    envelope.reaches.iter().filter(|reach| reach.axis == axis && reach.broke.is_some()).collect()
}
