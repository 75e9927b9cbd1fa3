//! What a person sees while they wait: on a terminal lines that are written over, elsewhere a line when something
//! changes.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};

use mainstay_node::page::{Overview, Sight};
use mainstay_site::names::ServerName;
use mainstay_site::wire::State;

use crate::render::{self, Paint};

/// What a terminal shows without a size of its own (a serial console).
const WIDTH: usize = 80;

/// Writes a line to standard error. Nobody there to read it is no reason to stop a site.
pub fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// One line that is written over.
pub struct Line {
    terminal: bool,
}

impl Line {
    pub fn new() -> Line {
        Line { terminal: stderr().is_terminal() }
    }

    /// Shows what goes on.
    pub fn show(&mut self, text: &str) {
        if self.terminal {
            let _ = write!(stderr(), "\r\x1b[2K{}", fit(text));
        } else {
            say(text);
        }
    }

    /// Says how it ended; the line stays.
    pub fn end(&mut self, text: &str) {
        self.show(text);
        if self.terminal {
            say("");
        }
    }
}

/// One line per server.
pub struct Servers {
    terminal: bool,
    paint: Paint,
    lines: usize,
    before: BTreeMap<ServerName, (State, String)>,
}

impl Servers {
    pub fn new() -> Servers {
        let terminal = stderr().is_terminal();
        Servers { terminal, paint: Paint(render::colour(&stderr())), lines: 0, before: BTreeMap::new() }
    }

    /// Shows how the servers are.
    pub fn show(&mut self, seen: &Overview) {
        let width = seen.servers.iter().map(|sight| sight.server.as_str().len()).max().unwrap_or_default();
        if self.terminal {
            let mut text = if self.lines > 0 { format!("\x1b[{}A", self.lines) } else { String::new() };
            for sight in &seen.servers {
                text += &format!("\r\x1b[2K{}\n", self.line(sight, width));
            }
            self.lines = seen.servers.len();
            let _ = stderr().write_all(text.as_bytes());
        } else {
            seen.servers.iter().for_each(|sight| self.note(sight, width));
        }
    }

    /// A line, if the server is not what it was.
    fn note(&mut self, sight: &Sight, width: usize) {
        let now = (sight.state, told(sight));
        // While it starts, what it waits for changes many times a second.
        let same = self.before.get(&sight.server).is_some_and(|before| {
            before == &now || (before.0 == now.0 && matches!(now.0, State::Starting | State::Stopping))
        });
        if !same {
            say(&self.line(sight, width));
            self.before.insert(sight.server.clone(), now);
        }
    }

    fn line(&self, sight: &Sight, width: usize) -> String {
        let (state, why) = (sight.state.as_str(), told(sight));
        let text = fit(&format!("  {} {:<width$}  {state:<9} {why}", sign(sight.state), sight.server));
        match sight.state {
            State::Serving => self.paint.green(&text),
            State::Degraded => self.paint.yellow(&text),
            State::Failed => self.paint.red(&text),
            _ => text,
        }
    }
}

/// What there is to say: the services of a server that serves, the reason of one that does not.
fn told(sight: &Sight) -> String {
    match (&sight.status, sight.state) {
        (Some(status), State::Serving) => {
            status.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(" ")
        }
        (Some(_), _) => sight.because.clone(),
        // How its control socket is not there yet is of no interest while it starts.
        (None, State::Starting) => "switched on".into(),
        (None, _) => sight.because.clone(),
    }
}

/// A sign for each state that needs no colour to be told from the others.
pub fn sign(state: State) -> char {
    match state {
        State::Serving => '●',
        State::Degraded => '▲',
        State::Starting => '○',
        State::Stopping => '◌',
        State::Stopped => '■',
        State::Failed => '✖',
    }
}

/// The text, on one line of the terminal.
fn fit(text: &str) -> String {
    if !stderr().is_terminal() {
        return text.to_owned();
    }
    let columns = rustix::termios::tcgetwinsize(stderr()).map_or(0, |size| usize::from(size.ws_col));
    let room = if columns == 0 { WIDTH } else { columns };
    let text = text.replace(['\n', '\r'], " ");
    if text.chars().count() <= room {
        return text;
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}
