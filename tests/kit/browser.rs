//! A real browser without a window, told what to do over the DevTools protocol.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Environment variable that names another Chromium.
const BROWSER_VARIABLE: &str = "SYNCSET_TEST_CHROMIUM";

/// Where Chromium is looked for, in this order.
const NAMES: [&str; 4] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
];

/// No answer takes longer; a browser that hangs fails the test.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

/// A browser with one open tab. Ended when it is dropped.
#[derive(Debug)]
pub struct Browser {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    /// What the browser reported by itself since it started.
    events: Vec<Value>,
    // Ended before its folder goes.
    _child: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts it and opens an empty tab.
    ///
    /// # Panics
    /// If there is no Chromium; `.ci/servers` installs one.
    pub async fn start() -> Self {
        let profile = tempfile::Builder::new()
            .prefix("syncset-browser-")
            .tempdir()
            .expect("a temporary folder can be created");
        // The protocol runs over the descriptors 3 and 4. A browser that root starts has no
        // sandbox; it opens files of the tests only.
        let mut child = Command::new("sh")
            .arg("-c")
            .arg("exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1")
            .arg(program())
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell can be started");
        let mut browser = Self {
            input: child.stdin.take().expect("it was started with a pipe"),
            output: BufReader::new(child.stdout.take().expect("it was started with a pipe")),
            session: None,
            last: 0,
            events: Vec::new(),
            _child: child,
            _profile: profile,
        };
        let tab = json!({"url": "about:blank"});
        let tab = browser.ask("Target.createTarget", tab).await["targetId"].take();
        let attach = json!({"targetId": tab, "flatten": true});
        let session = browser.ask("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Log", "Runtime", "Accessibility"] {
            browser.ask(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Opens a file and waits until it is loaded.
    pub async fn open(&mut self, file: &Path) {
        let seen = self.events_of("Page.loadEventFired").len();
        let url = format!("file://{}", file.display());
        let opened = self.ask("Page.navigate", json!({"url": url})).await;
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
        while self.events_of("Page.loadEventFired").len() == seen {
            let message = self.next_message().await;
            self.events.push(message);
        }
    }

    /// Runs a script in the page. Gives its value, as JSON.
    ///
    /// # Panics
    /// If the script throws.
    pub async fn run(&mut self, script: &str) -> Value {
        let request = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.ask("Runtime.evaluate", request).await;
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{script}: {answer}"
        );
        answer["result"]["value"].take()
    }

    /// Makes the page believe that its user prefers this colour scheme, `light` or `dark`.
    pub async fn prefer(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// Makes the window this wide, in CSS pixels.
    pub async fn resize(&mut self, width: u32) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Presses a key that writes no text, or Enter.
    pub async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, None),
            "Enter" => (13, Some("\r")),
            _ => panic!("no test presses {key}"),
        };
        let mut event = json!({"key": key, "code": key, "windowsVirtualKeyCode": code});
        event["type"] = json!(text.map_or("rawKeyDown", |_| "keyDown"));
        if let Some(text) = text {
            event["text"] = json!(text);
        }
        self.ask("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = json!("keyUp");
        self.ask("Input.dispatchKeyEvent", event).await;
    }

    /// What a screen reader is told: role and name of each thing that is not ignored, in the
    /// order of the page.
    pub async fn spoken(&mut self) -> Vec<(String, String)> {
        let tree = self.ask("Accessibility.getFullAXTree", json!({})).await;
        let nodes = tree["nodes"].as_array().expect("a list of nodes");
        let told = nodes.iter().filter(|node| node["ignored"] != true);
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        told.map(|node| (text(&node["role"]), text(&node["name"])))
            .collect()
    }

    /// The addresses that the page asked for.
    pub fn requested(&self) -> Vec<String> {
        let requests = self.events_of("Network.requestWillBeSent");
        let address = |event: &&Value| {
            event["params"]["request"]["url"]
                .as_str()
                .map(str::to_owned)
        };
        requests.iter().filter_map(address).collect()
    }

    /// What the browser complained of: violated policies, failed requests, errors of scripts.
    pub fn complaints(&self) -> Vec<&Value> {
        let mut complaints = self.events_of("Log.entryAdded");
        complaints.extend(self.events_of("Runtime.exceptionThrown"));
        complaints
    }

    fn events_of(&self, method: &str) -> Vec<&Value> {
        let events = self.events.iter();
        events.filter(|event| event["method"] == method).collect()
    }

    /// Sends a request and waits for its answer.
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut request = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&request).expect("JSON can be written");
        bytes.push(0);
        let sent = self.input.write_all(&bytes).await;
        sent.unwrap_or_else(|error| panic!("the browser is gone ({error}): {method}"));
        loop {
            let mut message = self.next_message().await;
            if message["id"] != self.last {
                self.events.push(message);
                continue;
            }
            assert!(message.get("error").is_none(), "{method}: {message}");
            return message["result"].take();
        }
    }

    async fn next_message(&mut self) -> Value {
        let mut bytes = Vec::new();
        let read = self.output.read_until(0, &mut bytes);
        tokio::time::timeout(ANSWER_DEADLINE, read)
            .await
            .expect("the browser answers in time")
            .expect("the browser's pipe can be read");
        assert_eq!(bytes.pop(), Some(0), "the browser ended by itself");
        serde_json::from_slice(&bytes).expect("the browser writes JSON")
    }
}

/// The browser's program.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os(BROWSER_VARIABLE) {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let candidates = NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = candidates.into_iter().find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("there is no Chromium: install one, or name it in {BROWSER_VARIABLE}")
    })
}
