//! The page of a timeline, in a real browser: what keys and pointer do, and that what is drawn is what happened.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use libtest_mimic::Arguments;
use serde_json::Value;
use tourbillon::{
    model::Timestamp,
    store::{Reply, Request, StoreError, Verb},
};
use tourbillon_sim::{
    EngineFactory, Overrides,
    checker::Violation,
    history::{Event, History},
    run_seed,
    scenario::Scenario,
    table::{self, Cell, FaultClass},
    timeline::{Point, Timeline},
    world::engine::{self, Engine},
};
use tourbillon_tests::{
    browser::{Browser, absent, key},
    conformance::trial,
    engines::EngineKind,
};

/// Events of the large page.
const MANY: usize = 100_000;

/// Argument with which this program takes the pictures of the documentation anew, into the folder that follows.
const PICTURES: &str = "--pictures";

fn main() {
    if let Some(folder) = std::env::args().skip_while(|argument| argument != PICTURES).nth(1) {
        return take_pictures(Path::new(&folder));
    }
    let absent = absent();
    let here = |name: &str, run: fn()| trial(name.to_owned(), absent.as_deref(), run);
    let trials = vec![
        here("a_page_opens_at_its_first_violation_and_asks_for_nothing", opens_at_the_violation),
        here("keys_zoom_move_and_go_through_violations", keys),
        here("a_filter_keeps_what_has_every_word", filter),
        here("the_pointer_shows_what_is_under_it", pointer),
        here("the_wheel_zooms_around_the_pointer_and_a_drag_moves", wheel_and_drag),
        here("light_and_dark_follow_the_system_until_told_otherwise", themes),
        here("a_hundred_thousand_events_are_no_more_marks_than_pixels_hold", many_events),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The naive operator breaks its bounds without any fault: a run with violations of every sort.
fn run() -> &'static (History, Vec<Violation>) {
    static RUN: OnceLock<(History, Vec<Violation>)> = OnceLock::new();
    RUN.get_or_init(|| {
        let (workload, variant) = table::by_name("operator/naive").expect("a workload");
        let engine = EngineKind::Memory.factory().expect("needs no server");
        let cell = Cell { variant, class: FaultClass::Pause, seed: 0 };
        let run = table::run_cell(workload.as_ref(), &cell, &engine).expect("the world holds");
        let broken = run.broken();
        assert!(broken.len() > 1, "the naive operator broke only {broken:?}");
        (run.history, broken)
    })
}

fn timeline() -> &'static Timeline {
    static TIMELINE: OnceLock<Timeline> = OnceLock::new();
    TIMELINE.get_or_init(|| {
        let (history, broken) = run();
        Timeline::of(history, broken).replayed_by("tourbillon sim replay operator/naive --fault pause --seed 0")
    })
}

fn written(name: &str, timeline: &Timeline) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, timeline.html()).expect("the target folder can be written to");
    path
}

/// A browser that shows the run.
fn shown() -> Browser {
    static PAGE: OnceLock<PathBuf> = OnceLock::new();
    let browser = Browser::start();
    browser.open(PAGE.get_or_init(|| written("timeline.html", timeline())));
    browser
}

/// What the page says it shows.
struct State(Value);

impl State {
    fn of(browser: &Browser) -> Self {
        Self(browser.script("return timeline.state();"))
    }
    fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("no number `{name}` in {}", self.0))
    }
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {}", self.0))
    }
    fn from(&self) -> f64 {
        self.number("from")
    }
    fn span(&self) -> f64 {
        self.number("to") - self.from()
    }
    fn sees(&self, at_us: u64) -> bool {
        let at = at_us as f64;
        self.from() <= at && at <= self.number("to")
    }
}

#[track_caller]
fn assert_close(left: f64, right: f64, within: f64) {
    assert!((left - right).abs() <= within, "{left} is not within {within} of {right}");
}

/// Where an event is on the page.
fn spot(browser: &Browser, event: usize) -> (f64, f64) {
    place(browser, &format!("timeline.spot({event})"))
}

/// A place in the lanes' canvas, as one on the page.
fn place(browser: &Browser, expression: &str) -> (f64, f64) {
    let script = format!(
        "const box = document.getElementById('lanes').getBoundingClientRect(); const [x, y] = {expression};
         return [box.left + x, box.top + y];"
    );
    let place = browser.script(&script);
    let part = |n: usize| place[n].as_f64().unwrap_or_else(|| panic!("no place: {place}"));
    (part(0), part(1))
}

/// How many pixels around a place in the canvas have the colour of that name.
fn colored(browser: &Browser, expression: &str, color: &str) -> u64 {
    let script = format!(
        "const canvas = document.getElementById('lanes'), ratio = devicePixelRatio, [x, y] = {expression};
         const probe = document.createElement('canvas').getContext('2d');
         probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--{color}').trim();
         probe.fillRect(0, 0, 1, 1);
         const wanted = probe.getImageData(0, 0, 1, 1).data;
         const {{ data }} = canvas.getContext('2d').getImageData((x - 12) * ratio, (y - 12) * ratio, 24 * ratio, 24 * ratio);
         let count = 0;
         for (let n = 0; n < data.length; n += 4) if ([0, 1, 2].every((c) => data[n + c] === wanted[c])) count++;
         return count;"
    );
    browser.script(&script).as_u64().expect("a count")
}

fn opens_at_the_violation() {
    let (browser, timeline) = (shown(), timeline());
    let state = State::of(&browser);
    assert_eq!(state.number("events") as usize, timeline.points.len());
    assert_eq!(state.number("bars") as usize, timeline.bars.len());
    assert_eq!(state.number("violations") as usize, timeline.marks.len());
    assert_eq!(state.number("mark"), 0.0);
    let proof = timeline.marks[0].events.last().copied().expect("a proof");
    assert!(state.sees(timeline.points[proof].at_us), "{}", state.0);
    let (_, y) = spot(&browser, proof);
    assert!((0.0..860.0).contains(&y), "the proof is at {y}, outside of the window");
    let ring = colored(&browser, &format!("timeline.spot({proof})"), "violation");
    assert!(ring > 20, "the proof has no ring: {ring} pixels of the violation's colour");
    let told = browser.script("return document.getElementById('violation').textContent;");
    let told = told.as_str().expect("a text");
    assert!(told.contains(&timeline.marks[0].message) && told.contains("sim replay operator/naive"), "{told}");
    assert_eq!(browser.script("return performance.getEntriesByType('resource').length;"), 0, "something was fetched");
    assert_eq!(browser.console(), [""; 0], "the page complains");
}

fn keys() {
    let (browser, timeline) = (shown(), timeline());
    browser.press("0");
    let whole = State::of(&browser);
    assert!(whole.sees(0) && whole.sees(timeline.end_us));
    browser.press("++");
    let near = State::of(&browser);
    assert_close(near.span(), whole.span() * 0.49, 1.0);
    browser.press(key::RIGHT);
    let moved = State::of(&browser);
    assert_close(moved.from() - near.from(), near.span() / 10.0, 1.0);
    assert_close(moved.span(), near.span(), 1.0);
    browser.press("-");
    assert_close(State::of(&browser).span(), near.span() / 0.7, 1.0);
    browser.press(key::DOWN);
    let shows = |number: usize| {
        let state = State::of(&browser);
        assert_eq!(state.number("mark") as usize, number);
        let last = timeline.marks[number].events.last().expect("a proof");
        assert!(state.sees(timeline.points[*last].at_us), "violation {number} is not in view: {}", state.0);
    };
    browser.press("n");
    shows(1);
    browser.press("p");
    shows(0);
    browser.press("p");
    shows(timeline.marks.len() - 1);
    browser.press(".");
    let first = State::of(&browser).text("selected").to_owned();
    browser.press("..");
    browser.press(",");
    browser.press(",");
    assert_eq!(State::of(&browser).text("selected"), first, "two forth and two back");
    browser.press("?");
    assert_eq!(browser.script("return document.getElementById('keys').open;"), true);
    browser.press(key::ESCAPE);
    assert_eq!(browser.script("return document.getElementById('keys').open;"), false);
    assert_eq!(browser.console(), [""; 0], "the page complains");
}

/// Whether a point should pass the filter, told by the model.
fn passes(timeline: &Timeline, point: &Point, words: &[&str]) -> bool {
    let subjects = point.subjects.iter().map(|subject| timeline.subjects[*subject].as_str());
    let host = timeline.lanes[point.lane].host.to_string();
    let texts: Vec<_> = subjects.chain([point.label.as_str(), &host]).map(str::to_lowercase).collect();
    words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
}

fn filter() {
    let (browser, timeline) = (shown(), timeline());
    browser.press("/");
    browser.press("database insert_job");
    let state = State::of(&browser);
    assert_eq!(state.text("filter"), "database insert_job");
    let expected =
        timeline.points.iter().filter(|point| passes(timeline, point, &["database", "insert_job"])).count();
    assert!(expected > 0, "the run makes jobs");
    assert_eq!(state.number("matches") as usize, expected);
    browser.press(key::ENTER);
    assert!(State::of(&browser).text("selected").contains("insert_job"));
    browser.press(key::ESCAPE);
    let state = State::of(&browser);
    assert_eq!((state.text("filter"), state.number("matches") as usize), ("", timeline.points.len()));
    // The keyboard is the timeline's again.
    browser.press("0");
    assert!(State::of(&browser).sees(timeline.end_us));
}

fn pointer() {
    let (browser, timeline) = (shown(), timeline());
    let proof = timeline.marks[0].events[0];
    let point = &timeline.points[proof];
    browser.script(&format!("timeline.view.show({0} - 2000, {0} + 2000); return 0;", point.at_us));
    browser.press("+");
    browser.point(spot(&browser, proof));
    let state = State::of(&browser);
    let there: Vec<_> = timeline.points.iter().filter(|p| p.at_us == point.at_us && p.lane == point.lane).collect();
    assert!(
        there.iter().any(|p| p.label == state.text("hovered")),
        "{} is not at the pointer",
        state.text("hovered")
    );
    let tip = browser.script("const tip = document.getElementById('tip'); return tip.hidden ? '' : tip.textContent;");
    assert!(tip.as_str().expect("a text").contains(state.text("hovered")), "{tip}");
    browser.click(spot(&browser, proof));
    let kept = State::of(&browser).text("selected").to_owned();
    browser.point((20.0, 20.0));
    let details = browser.script("return document.getElementById('details').textContent;");
    assert!(details.as_str().expect("a text").contains(&kept), "{details}");
    // The longest bar in view.
    let bar = "(() => { const { layout, view, run } = timeline; let best = null;
        for (const lane of layout.lanes) for (const row of lane.rows) for (const part of row.parts ?? []) {
          const y = row.y + row.height / 2 - view.top + 30;
          if (!row.height || y < 40 || y > view.height) continue;
          for (const bar of layout.bars(part, view.from, view.to)) {
            const x0 = Math.max(view.x(run.barFrom[bar]), 180), x1 = Math.min(view.x(run.barTo[bar]), view.width - 20);
            if (!best || x1 - x0 > best[2]) best = [(x0 + x1) / 2, y, x1 - x0];
          } }
        return best; })()";
    browser.point(place(&browser, bar));
    let hovered = State::of(&browser).text("hovered").to_owned();
    assert!(timeline.bars.iter().any(|bar| bar.label == hovered), "no bar is called {hovered}");
    assert_eq!(browser.console(), [""; 0], "the page complains");
}

fn wheel_and_drag() {
    let (browser, timeline) = (shown(), timeline());
    let proof = *timeline.marks[0].events.last().expect("a proof");
    let before = State::of(&browser);
    let (x, y) = spot(&browser, proof);
    browser.wheel((x, y), -600);
    let near = State::of(&browser);
    assert!(near.span() < before.span() / 2.0, "{} is not much less than {}", near.span(), before.span());
    assert_close(spot(&browser, proof).0, x, 1.5);
    let per_pixel = browser.script("return timeline.view.perPixel;").as_f64().expect("a number");
    browser.drag((700.0, 300.0), (600.0, 300.0));
    let moved = State::of(&browser);
    assert_close(moved.from() - near.from(), 100.0 * per_pixel, per_pixel);
    assert_close(moved.span(), near.span(), 1.0);
}

fn themes() {
    let browser = Browser::start();
    let page = written("timeline-themes.html", timeline());
    let paper = "return getComputedStyle(document.body).backgroundColor;";
    browser.prefer("dark");
    browser.open(&page);
    assert_eq!(State::of(&browser).text("theme"), "dark");
    let dark = browser.script(paper);
    browser.press("t");
    assert_eq!(State::of(&browser).text("theme"), "light");
    assert_ne!(browser.script(paper), dark);
    browser.prefer("light");
    browser.open(&page);
    assert_eq!(State::of(&browser).text("theme"), "light");
}

/// The run again and again, one after the other, until it is long enough.
fn many() -> History {
    let (history, _) = run();
    let length_us = history.events.last().expect("events").at_us + 1;
    let rounds = (0..).flat_map(|round| {
        history.events.iter().map(move |event| Event { at_us: event.at_us + round * length_us, ..event.clone() })
    });
    History { events: rounds.take(MANY).collect() }
}

fn many_events() {
    let (_, broken) = run();
    let timeline = Timeline::of(&many(), broken);
    let page = written("timeline-100000.html", &timeline);
    let size = fs::metadata(&page).expect("it was written").len();
    assert!(size < 60 * MANY as u64, "the page has {size} bytes");
    let browser = Browser::start();
    browser.open(&page);
    assert_eq!(State::of(&browser).number("events") as usize, MANY);
    browser.press("0");
    let state = State::of(&browser);
    assert!(state.sees(0) && state.sees(timeline.end_us));
    let rows = browser.script("return timeline.layout.lanes.reduce((sum, lane) => sum + lane.rows.length, 0);");
    let pixels = browser.script("return timeline.view.plot;").as_f64().expect("a width");
    let most = rows.as_f64().expect("a count") * pixels;
    assert!(state.number("drawn") > 1_000.0, "hardly anything is drawn: {}", state.0);
    assert!(state.number("drawn") < most, "{} marks on {most} pixels of rows", state.number("drawn"));
    // Close up, messages are drawn one by one.
    browser.press("n");
    browser.script("timeline.view.zoom(0.05); return 0;");
    browser.press("+");
    assert_eq!(State::of(&browser).0["messages"], true);
    assert_eq!(browser.console(), [""; 0], "the page complains");
}

/// A store that judges by a clock that is ahead whether a lock has expired.
struct Hasty(Box<dyn Engine + Send>);

impl Engine for Hasty {
    fn apply(&mut self, now: Timestamp, request: &Request) -> Result<Reply, StoreError> {
        let ahead =
            if matches!(request.verb, Verb::AcquireLock(_)) { Duration::from_secs(7) } else { Duration::ZERO };
        self.0.apply(now + ahead, request)
    }
}

/// Of a run with that bug: (file, seed, violation, what the system prefers).
const TAKEN: [(&str, u64, usize, &str); 2] =
    [("timeline-light.png", 7, 36, "light"), ("timeline-dark.png", 12, 33, "dark")];

fn take_pictures(folder: &Path) {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/leader-handover.toml");
    let scenario = Scenario::load(&scenario).unwrap_or_else(|error| panic!("{error}"));
    let factory: EngineFactory = Arc::new(|| Ok(Box::new(Hasty(engine::memory()))));
    for (file, seed, mark, scheme) in TAKEN {
        let run =
            run_seed(&scenario, seed, &Overrides::default(), &factory).unwrap_or_else(|error| panic!("{error}"));
        let browser = Browser::start();
        browser.prefer(scheme);
        browser.open(&written("timeline-picture.html", &Timeline::of(&run.history, &run.violations)));
        browser.script(&format!("showMark({mark}); return 0;"));
        browser.drawn();
        fs::write(folder.join(file), browser.picture()).expect("the folder is there");
    }
}
