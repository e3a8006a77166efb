//! The picture as one HTML page: light and dark, nothing from the network. Owns how the model is packed for the page's
//! script, and how the page is put together; what it looks like is in `page/`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{BarKind, Lane, Mark, PointKind, Timeline};
use crate::history::HostId;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");

/// One script, in the order in which its parts build on each other.
const SCRIPT: [&str; 5] = [
    include_str!("page/run.js"),
    include_str!("page/scale.js"),
    include_str!("page/layout.js"),
    include_str!("page/paint.js"),
    include_str!("page/page.js"),
];

impl Timeline {
    /// One page with everything in it. Equal timelines are equal texts. About 45 bytes an event.
    pub fn html(&self) -> String {
        let mut page = String::new();
        // What is put in is not looked at again: a label may well hold a mark of the template.
        for part in PAGE.split_inclusive("}}") {
            let (text, name) = part.strip_suffix("}}").and_then(|part| part.rsplit_once("{{")).unwrap_or((part, ""));
            page += text;
            match name {
                "title" => page += &escaped(&self.title),
                "style" => page += STYLE,
                // `<` stands only in texts, where JSON may spell it otherwise: no text ends the element.
                "data" => page += &self.packed().to_string().replace('<', "\\u003c"),
                "script" => SCRIPT.iter().for_each(|part| page += part),
                _ => {}
            }
        }
        page
    }

    /// Columns instead of objects, differences instead of instants, texts once.
    fn packed(&self) -> Value {
        let mut texts = Table::default();
        let mut sets = Table::default();
        let lanes: Vec<_> = self.lanes.iter().map(lane).collect();
        let mut last_us = 0;
        let mut at = Vec::with_capacity(self.points.len());
        for point in &self.points {
            at.push(point.at_us - last_us);
            last_us = point.at_us;
        }
        let points = json!({
            "at": at,
            "lane": self.points.iter().map(|point| point.lane).collect::<Vec<_>>(),
            "kind": self.points.iter().map(|point| point.kind as usize).collect::<Vec<_>>(),
            "label": self.points.iter().map(|point| texts.number(point.label.as_str())).collect::<Vec<_>>(),
            "about": self.points.iter().map(|point| sets.number(point.subjects.as_slice())).collect::<Vec<_>>(),
            "request": self.points.iter().map(|point| number_or_none(point.request)).collect::<Vec<_>>(),
        });
        let bars = json!({
            "from": self.bars.iter().map(|bar| bar.from_us).collect::<Vec<_>>(),
            "to": self.bars.iter().map(|bar| bar.to_us - bar.from_us).collect::<Vec<_>>(),
            "lane": self.bars.iter().map(|bar| bar.lane).collect::<Vec<_>>(),
            "kind": self.bars.iter().map(|bar| bar.kind as usize).collect::<Vec<_>>(),
            "track": self.bars.iter().map(|bar| bar.track).collect::<Vec<_>>(),
            "label": self.bars.iter().map(|bar| texts.number(bar.label.as_str())).collect::<Vec<_>>(),
            "note": self.bars.iter().map(|bar| texts.number(bar.note.as_str())).collect::<Vec<_>>(),
            "about": self.bars.iter().map(|bar| sets.number(bar.subjects.as_slice())).collect::<Vec<_>>(),
            "first": self.bars.iter().map(|bar| bar.first).collect::<Vec<_>>(),
            "last": self.bars.iter().map(|bar| number_or_none(bar.last)).collect::<Vec<_>>(),
        });
        let mark = |mark: &Mark| {
            json!({
                "guarantee": mark.guarantee, "message": mark.message, "events": mark.events,
                "view": [mark.view_us.0, mark.view_us.1],
            })
        };
        json!({
            "title": self.title, "replay": self.replay, "epoch": self.epoch.as_micros(), "end": self.end_us,
            "lanes": lanes, "subjects": self.subjects, "texts": texts.rows, "sets": sets.rows,
            "pointKinds": PointKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
            "barKinds": BarKind::ALL.iter().map(|kind| json!([kind.name(), kind.group()])).collect::<Vec<_>>(),
            "points": points, "bars": bars, "marks": self.marks.iter().map(mark).collect::<Vec<_>>(),
        })
    }
}

fn lane(lane: &Lane) -> Value {
    let sort = match lane.host {
        HostId::World => "world",
        HostId::Database => "database",
        HostId::Replica(_) => "replica",
        HostId::Receiver(_) => "receiver",
    };
    let clock = lane
        .clock
        .iter()
        .map(|reading| json!([reading.from_us, reading.skew_us, reading.drift_ppm, u8::from(reading.stands_still)]));
    json!({ "name": lane.host.to_string(), "sort": sort, "clock": clock.collect::<Vec<_>>() })
}

fn number_or_none(number: Option<usize>) -> i64 {
    number.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1)
}

/// Values by number, each once, in the order of their first use.
struct Table<K> {
    numbers: BTreeMap<K, usize>,
    rows: Vec<K>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), rows: Vec::new() }
    }
}

impl<K: Ord + Copy> Table<K> {
    fn number(&mut self, value: K) -> usize {
        let next = self.rows.len();
        let number = *self.numbers.entry(value).or_insert(next);
        if number == next {
            self.rows.push(value);
        }
        number
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
