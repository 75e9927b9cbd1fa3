//! A FastCGI application that does what a test says.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::engine::PATIENCE;

const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// A request as it arrived.
pub struct Asked {
    pub params: String,
    pub body: Vec<u8>,
}

/// The connection that a request came on.
pub struct Line(UnixStream);

/// The application; serves one connection after the other, as php-cgi does.
pub struct Responder {
    folder: TempDir,
    pub accepted: Arc<AtomicUsize>,
}

impl Responder {
    /// `answer` says whether the connection goes on.
    pub fn new(answer: impl Fn(Asked, &mut Line) -> bool + Send + 'static) -> Responder {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let count = accepted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut line = Line(stream);
                while let Some(asked) = line.asked() {
                    if !answer(asked, &mut line) {
                        break;
                    }
                }
            }
        });
        Responder { folder, accepted }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Line {
    /// The next request; `None` at the end.
    fn asked(&mut self) -> Option<Asked> {
        let (mut params, mut body) = (Vec::new(), Vec::new());
        loop {
            let mut head = [0; 8];
            self.0.read_exact(&mut head).ok()?;
            let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) + usize::from(head[6])];
            self.0.read_exact(&mut content).ok()?;
            match head[1] {
                BEGIN => assert_eq!(content[..3], [0, 1, 1], "a responder whose connection is kept"),
                PARAMS => params.extend(content),
                STDIN if content.is_empty() => {
                    return Some(Asked { params: String::from_utf8_lossy(&params).into_owned(), body });
                }
                STDIN => body.extend(content),
                other => panic!("record of type {other}"),
            }
        }
    }

    /// Waits for more, or for the end.
    pub fn reads(&mut self, bytes: &mut [u8]) {
        let _ = self.0.read(bytes);
    }

    fn record(&mut self, kind: u8, content: &[u8]) {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let head = [1, kind, 0, 1, length[0], length[1], 0, 0];
        // The engine may have gone away, which the test is about then.
        let _ = self.0.write_all(&[&head[..], content].concat());
    }

    pub fn says(&mut self, text: &str) {
        text.as_bytes().chunks(60_000).for_each(|piece| self.record(STDOUT, piece));
    }

    pub fn complains(&mut self, text: &str) {
        self.record(STDERR, text.as_bytes());
    }

    pub fn ends(&mut self) -> bool {
        self.record(END, &[0; 8]);
        true
    }

    /// Says all of an answer.
    pub fn answers(&mut self, text: &str) -> bool {
        self.says(text);
        self.ends()
    }
}
