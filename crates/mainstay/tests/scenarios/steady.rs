//! Visitors who keep their connections and ask without a pause, strictly: whatever is not an answer of 200 counts, also where
//! a browser would quietly ask again.

use std::fs::File;
use std::io::{BufReader, Read, Result, Seek, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::read_answer;

/// Connections by HTTP/1.1.
const VISITORS: usize = 6;
/// One request in so many is a POST, which nobody may send a second time on the visitor's behalf.
const POST_EVERY: usize = 25;
/// No visitor waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many requests each kind of change has to bear: `MAINSTAY_REQUESTS`, which `bin/soak` sets to 100,000.
pub fn wanted() -> usize {
    std::env::var("MAINSTAY_REQUESTS").map_or(10_000, |number| number.parse().expect("MAINSTAY_REQUESTS is a number"))
}

/// The visitors.
pub struct Steady {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    visitors: Vec<JoinHandle<Tally>>,
    encrypted: Encrypted,
}

/// curl, and a line for each of its answers.
struct Encrypted {
    curl: Child,
    told: File,
    wanted: usize,
}

/// What they saw.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: usize,
    pub slowest: Duration,
    pub failed: Vec<String>,
}

impl Steady {
    /// Visitors over HTTP/1.1, and curl with many streams at a time over HTTPS and HTTP/2.
    pub fn start(http: SocketAddr, https: SocketAddr, host: &str) -> Steady {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let visitors = (0..VISITORS).map(|number| {
            let visitor =
                Visitor { at: http, host: host.to_owned(), answered: answered.clone(), tally: Tally::default() };
            let stop = stop.clone();
            std::thread::spawn(move || visitor.keep_asking(number, &stop))
        });
        let visitors = visitors.collect();
        Steady { stop, answered, visitors, encrypted: Encrypted::start(https, wanted() / 4) }
    }

    /// Whether all of them have asked as often as they should.
    pub fn is_enough(&mut self) -> bool {
        let clear = self.answered.load(Ordering::Relaxed) >= wanted() - self.encrypted.wanted;
        clear && self.encrypted.curl.try_wait().unwrap().is_some()
    }

    /// Lets them finish; what all of them saw. Waits for those over HTTPS.
    pub fn end(self) -> Tally {
        let mut sum = self.encrypted.end();
        self.stop.store(true, Ordering::Relaxed);
        for visitor in self.visitors {
            let one = visitor.join().unwrap();
            sum.answered += one.answered;
            sum.slowest = sum.slowest.max(one.slowest);
            sum.failed.extend(one.failed);
        }
        sum
    }
}

impl Encrypted {
    fn start(https: SocketAddr, wanted: usize) -> Encrypted {
        let told = tempfile::tempfile().unwrap();
        let url = format!("https://{https}/x.txt?[1-{wanted}]");
        let arguments =
            ["-sSk", "--no-progress-meter", "--http2", "-Z", "--parallel-max", "16", "-o", "/dev/null", "-w"];
        let mut curl = Command::new("curl");
        curl.args(arguments).args(["%{http_code} %{http_version}\\n", &url]).stdout(told.try_clone().unwrap());
        Encrypted { curl: curl.spawn().unwrap(), told, wanted }
    }

    fn end(mut self) -> Tally {
        let (status, mut told, mut tally) = (self.curl.wait().unwrap(), String::new(), Tally::default());
        self.told.rewind().unwrap();
        self.told.read_to_string(&mut told).unwrap();
        for line in told.lines() {
            match line {
                "200 2" => tally.answered += 1,
                other => tally.failed.push(format!("over HTTPS: {other}")),
            }
        }
        if tally.answered != self.wanted {
            tally.failed.push(format!("over HTTPS: {} of {}: {status}", tally.answered, self.wanted));
        }
        tally
    }
}

struct Visitor {
    at: SocketAddr,
    host: String,
    answered: Arc<AtomicUsize>,
    tally: Tally,
}

impl Visitor {
    fn keep_asking(mut self, number: usize, stop: &AtomicBool) -> Tally {
        let mut connection = None;
        for turn in number.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let start = Instant::now();
            match self.ask(&mut connection, turn % POST_EVERY == 0) {
                Ok(()) => {
                    self.tally.answered += 1;
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let fresh = if connection.is_none() { "a new connection" } else { "a kept connection" };
                    self.tally.failed.push(format!("turn {turn}, on {fresh}: {error}"));
                    connection = None;
                }
            }
            self.tally.slowest = self.tally.slowest.max(start.elapsed());
        }
        self.tally
    }

    fn ask(&self, connection: &mut Option<BufReader<TcpStream>>, post: bool) -> Result<()> {
        let kept = match connection {
            Some(kept) => kept,
            None => {
                let stream = TcpStream::connect_timeout(&self.at, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                connection.insert(BufReader::new(stream))
            }
        };
        let host = &self.host;
        let request = match post {
            true => format!("POST /index.php HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nping"),
            false => format!("GET /x.txt HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        };
        kept.get_mut().write_all(request.as_bytes())?;
        let answer = read_answer(kept)?;
        if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            *connection = None;
        }
        match (answer.status, answer.body.as_str()) {
            (200, "small\n") if !post => Ok(()),
            (200, "ping") if post => Ok(()),
            (status, body) => Err(std::io::Error::other(format!("{status}: {body:?}"))),
        }
    }
}
