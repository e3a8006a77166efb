//! A browser without a window, by the W3C `WebDriver` protocol over plain HTTP: what a person does, and what is then on the
//! screen. Knows nothing of the pages.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

/// Size of the window in pixels, and what keeps the browser from calling home.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--window-size=1280,860",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Names of the browser, the usual one first.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// Keys that are no characters, as the protocol spells them.
pub mod key {
    /// To the right.
    pub const RIGHT: &str = "\u{E014}";
    /// Down.
    pub const DOWN: &str = "\u{E015}";
    /// Enter.
    pub const ENTER: &str = "\u{E007}";
    /// Escape.
    pub const ESCAPE: &str = "\u{E00C}";
}

/// Why no browser can be driven here; `None` when one can.
pub fn absent() -> Option<String> {
    let needed = [("chromedriver", find(&["chromedriver"])), ("chromium", find(BROWSERS))];
    let (name, _) = needed.into_iter().find(|(_, found)| found.is_none())?;
    Some(format!("no {name}: apt-get install chromium chromium-driver"))
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let folders: Vec<_> = env::split_paths(&env::var_os("PATH")?).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// Looks at a page before [`Browser::until`] gives up; each takes two frames.
const LOOKS: u32 = 1_000;

/// One browser with one page. Ends with it.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Where driver and browser put what they would leave behind.
    folder: PathBuf,
}

impl Browser {
    /// Starts one, with a profile of its own.
    pub fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("tourbillon-browser-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files can be made");
        let mut driver = Command::new(find(&["chromedriver"]).expect("a driver was found before"))
            .arg("--port=0")
            .env("TMPDIR", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the driver starts");
        let mut said = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
        let port = said
            .find_map(|line| line.expect("UTF-8").strip_suffix('.')?.rsplit_once("on port ")?.1.parse().ok())
            .expect("the driver says its port");
        // It goes on talking; nobody may block it.
        std::thread::spawn(move || said.for_each(drop));
        let mut browser = Self { driver, port, session: String::new(), folder };
        let options = json!({ "binary": find(BROWSERS).expect("a browser was found before"), "args": ARGUMENTS });
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let begun = browser.call("POST", "/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("/session/{}", begun["sessionId"].as_str().expect("a session"));
        browser
    }

    /// Shows a file and waits until it is drawn.
    pub fn open(&self, page: &Path) {
        self.visit(&format!("file://{}", page.display()));
    }

    /// Shows what is at an address, and waits until it is drawn.
    pub fn visit(&self, url: &str) {
        self.ask("/url", &json!({ "url": url }));
        self.drawn();
    }

    /// Waits until an expression is true on the page.
    ///
    /// # Panics
    /// When it is not true after many looks.
    #[track_caller]
    pub fn until(&self, expression: &str) {
        for _ in 0..LOOKS {
            if self.script(&format!("return !!({expression});")) == true {
                return;
            }
            self.drawn();
        }
        let text = self.script("return document.body.innerText;");
        panic!("`{expression}` does not become true; the page says: {}", text.as_str().unwrap_or_default());
    }

    /// What a script returns.
    pub fn script(&self, script: &str) -> Value {
        self.ask("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until what was asked for so far is on the screen.
    pub fn drawn(&self) {
        let script = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(0)));";
        self.ask("/execute/async", &json!({ "script": script, "args": [] }));
    }

    /// Presses and releases keys, one after the other.
    pub fn press(&self, keys: &str) {
        let strokes: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|stroke| json!({ "type": stroke, "value": key.to_string() })))
            .collect();
        self.act(&json!({ "type": "key", "id": "keyboard", "actions": strokes }));
    }

    /// Moves the pointer to a place on the page, in pixels.
    pub fn point(&self, to: (f64, f64)) {
        self.pointer(&[moved(to)]);
    }

    /// Clicks there.
    pub fn click(&self, at: (f64, f64)) {
        let button = |kind: &str| json!({ "type": kind, "button": 0 });
        self.pointer(&[moved(at), button("pointerDown"), button("pointerUp")]);
    }

    /// Drags from one place to another.
    pub fn drag(&self, from: (f64, f64), to: (f64, f64)) {
        let button = |kind: &str| json!({ "type": kind, "button": 0 });
        self.pointer(&[moved(from), button("pointerDown"), moved(to), button("pointerUp")]);
    }

    /// Turns the wheel there by so many pixels; negative is away from the person.
    pub fn wheel(&self, at: (f64, f64), by: i64) {
        let (x, y) = (at.0.round(), at.1.round());
        let turn =
            json!({ "type": "scroll", "x": x as i64, "y": y as i64, "deltaX": 0, "deltaY": by, "duration": 0 });
        self.act(&json!({ "type": "wheel", "id": "wheel", "actions": [turn] }));
    }

    /// What the person's system prefers: `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let call = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.ask("/goog/cdp/execute", &call);
    }

    /// What the page has written to the console, errors above all.
    pub fn console(&self) -> Vec<String> {
        let entries = self.ask("/se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().expect("a list").iter();
        entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The window's content as a PNG file.
    pub fn picture(&self) -> Vec<u8> {
        let text = self.call("GET", &format!("{}/screenshot", self.session), &json!({}));
        decoded(text.as_str().expect("a text"))
    }

    fn pointer(&self, actions: &[Value]) {
        let parameters = json!({ "pointerType": "mouse" });
        self.act(&json!({ "type": "pointer", "id": "mouse", "parameters": parameters, "actions": actions }));
    }

    fn act(&self, source: &Value) {
        self.ask("/actions", &json!({ "actions": [source] }));
        self.drawn();
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.http(method, path, &body.to_string()).expect("the driver answers");
        let answer: Value = serde_json::from_str(&answer).expect("the driver answers in JSON");
        assert_eq!(status, 200, "{method} {path} {body}: {}", answer["value"]["message"]);
        answer["value"].clone()
    }

    fn http(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                break;
            }
            if let Some((name, value)) =
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().unwrap_or_else(|_| panic!("{name} is no number: {value}"));
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

fn moved((x, y): (f64, f64)) -> Value {
    json!({ "type": "pointerMove", "x": x.round() as i64, "y": y.round() as i64, "duration": 0 })
}

/// Bytes from base64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<_> = text.bytes().filter(|letter| !matches!(letter, b'=' | b'\n')).map(value).collect();
    let mut bytes = Vec::with_capacity(letters.len() * 3 / 4);
    for four in letters.chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, six| bits << 6 | u32::from(*six)) << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session. A test that failed has said why.
        let _ = self.http("DELETE", &self.session, "{}");
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
