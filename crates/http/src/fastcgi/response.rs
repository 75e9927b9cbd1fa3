//! Reading an answer (FastCGI 1.0 § 3.3, § 5.5), in pieces as they come. Holds nothing but a record's head.

use std::ops::Range;

use super::record::{END_REQUEST, HEAD_BYTES, REQUEST_ID, STDERR, STDOUT, VERSION};

/// What was read. Ranges lie in the input that it was read from, and are never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A piece of the answer: first CGI headers, then the body.
    Stdout(Range<usize>),
    /// A piece of what the application complains of.
    Stderr(Range<usize>),
    /// The answer is over, its last padding read; the connection is free again if it was kept.
    End {
        /// The exit status of the application, zero if all is well.
        app_status: u32,
        /// Whether it was answered at all.
        protocol: Protocol,
    },
}

/// Whether a request was answered (§ 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// It was.
    Complete,
    /// Refused: a second request on a connection.
    CannotMultiplex,
    /// Refused: out of something.
    Overloaded,
    /// Refused: not a responder.
    UnknownRole,
}

/// Why an answer is none. The connection is lost: where the next record would begin is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Most often another protocol: the socket is not FastCGI's.
    #[error("the application does not speak FastCGI 1 (version {0})")]
    Version(u8),
    /// Not ours; we have one.
    #[error("the application answered request {0}, which was not asked")]
    RequestId(u16),
    /// None that a responder sends.
    #[error("the application sent a record of type {0}, which no responder sends")]
    Kind(u8),
    /// A stream went on after its end.
    #[error("the application went on with a stream of type {0} that it had ended")]
    StreamOver(u8),
    /// `END_REQUEST` has eight bytes.
    #[error("the application ended its answer with {0} bytes instead of 8")]
    EndLength(u16),
    /// None of § 5.5.
    #[error("the application ended its answer with the unknown protocol status {0}")]
    EndProtocol(u8),
}

/// Reads the records of one answer; a new one for each request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    /// A record's head, or the content of the last record, as far as it is there.
    bytes: [u8; HEAD_BYTES],
    have: u8,
    part: Part,
    kind: u8,
    content: u16,
    padding: u8,
    stdout_over: bool,
    stderr_over: bool,
}

/// What of a record comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    Content,
    Padding,
    Over,
}

impl Decoder {
    /// Whether the answer is over.
    pub fn is_done(&self) -> bool {
        self.part == Part::Over
    }

    /// Reads `input` and hands what it holds to `events`, in order; how many bytes were taken. Fewer than there are only
    /// behind the end of the answer: then somebody spoke unasked, and the connection must not be used again.
    pub fn feed(&mut self, input: &[u8], mut events: impl FnMut(Event)) -> Result<usize, Fault> {
        let mut place = 0;
        loop {
            let before = self.part;
            let (taken, event) = self.step(&input[place..], place)?;
            place += taken;
            let stuck = taken == 0 && self.part == before;
            event.into_iter().for_each(&mut events);
            if stuck {
                return Ok(place);
            }
        }
    }

    /// One step; nothing taken and nothing changed means that more must come, or that all is over.
    fn step(&mut self, input: &[u8], place: usize) -> Result<(usize, Option<Event>), Fault> {
        match self.part {
            // ## Head => (Content | Padding | Head)
            Part::Head => self.head(input),
            // ## Content => (Padding | Head), of the last record (Padding | Over)
            Part::Content if self.kind == END_REQUEST => self.last(input),
            Part::Content => Ok(self.stream(input, place)),
            // ## Padding => (Head | Over)
            Part::Padding => {
                let taken = usize::from(self.padding).min(input.len());
                self.padding -= taken as u8;
                if self.padding > 0 {
                    return Ok((taken, None));
                }
                Ok((taken, self.after_padding()?))
            }
            Part::Over => Ok((0, None)),
        }
    }

    fn head(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Fault> {
        let taken = self.gather(input);
        if usize::from(self.have) < HEAD_BYTES {
            return Ok((taken, None));
        }
        let [version, kind, id_high, id_low, high, low, padding, _reserved] = self.bytes;
        (self.kind, self.content, self.padding, self.have) = (kind, u16::from_be_bytes([high, low]), padding, 0);
        self.check(version, u16::from_be_bytes([id_high, id_low]))?;
        self.part = if self.content > 0 { Part::Content } else { Part::Padding };
        Ok((taken, None))
    }

    fn check(&mut self, version: u8, id: u16) -> Result<(), Fault> {
        if version != VERSION {
            return Err(Fault::Version(version));
        }
        if id != REQUEST_ID {
            return Err(Fault::RequestId(id));
        }
        let over = match self.kind {
            STDOUT => &mut self.stdout_over,
            STDERR => &mut self.stderr_over,
            END_REQUEST if usize::from(self.content) == HEAD_BYTES => return Ok(()),
            END_REQUEST => return Err(Fault::EndLength(self.content)),
            kind => return Err(Fault::Kind(kind)),
        };
        // An empty record ends its stream (§ 3.3).
        match std::mem::replace(over, self.content == 0) {
            true => Err(Fault::StreamOver(self.kind)),
            false => Ok(()),
        }
    }

    fn stream(&mut self, input: &[u8], place: usize) -> (usize, Option<Event>) {
        let taken = usize::from(self.content).min(input.len());
        if taken == 0 {
            return (0, None);
        }
        self.content -= taken as u16;
        if self.content == 0 {
            self.part = Part::Padding;
        }
        let range = place..place + taken;
        (taken, Some(if self.kind == STDOUT { Event::Stdout(range) } else { Event::Stderr(range) }))
    }

    fn last(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Fault> {
        let taken = self.gather(input);
        if usize::from(self.have) == HEAD_BYTES {
            self.part = Part::Padding;
        }
        Ok((taken, None))
    }

    fn after_padding(&mut self) -> Result<Option<Event>, Fault> {
        if self.kind != END_REQUEST {
            self.part = Part::Head;
            return Ok(None);
        }
        self.part = Part::Over;
        let [a, b, c, d, protocol, ..] = self.bytes;
        let protocol = match protocol {
            0 => Protocol::Complete,
            1 => Protocol::CannotMultiplex,
            2 => Protocol::Overloaded,
            3 => Protocol::UnknownRole,
            unknown => return Err(Fault::EndProtocol(unknown)),
        };
        Ok(Some(Event::End { app_status: u32::from_be_bytes([a, b, c, d]), protocol }))
    }

    /// Fills `bytes`.
    fn gather(&mut self, input: &[u8]) -> usize {
        let have = usize::from(self.have);
        let taken = (HEAD_BYTES - have).min(input.len());
        self.bytes[have..have + taken].copy_from_slice(&input[..taken]);
        self.have += taken as u8;
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, content: &[u8], padding: u8) -> Vec<u8> {
        let mut head = super::super::record::head(kind, content.len() as u16);
        head[6] = padding;
        [&head[..], content, &vec![0xee; usize::from(padding)]].concat()
    }

    /// What was read, neighbours of one stream in one piece, since how the input was split is of no meaning.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Read {
        Stdout(Vec<u8>),
        Stderr(Vec<u8>),
        End(u32, Protocol),
        Fault(Fault),
    }

    /// Reads `wire`, split at each of `cuts`: what was read, and how many bytes were taken.
    fn read(wire: &[u8], cuts: &[usize]) -> (Vec<Read>, usize) {
        let (mut decoder, mut reads, mut all, mut from) = (Decoder::default(), Vec::new(), 0, 0);
        for to in cuts.iter().copied().chain([wire.len()]) {
            let input = &wire[from..to];
            let fed = decoder.feed(input, |event| match (event, reads.last_mut()) {
                (Event::Stdout(range), Some(Read::Stdout(last))) => last.extend_from_slice(&input[range]),
                (Event::Stderr(range), Some(Read::Stderr(last))) => last.extend_from_slice(&input[range]),
                (Event::Stdout(range), _) => reads.push(Read::Stdout(input[range].to_vec())),
                (Event::Stderr(range), _) => reads.push(Read::Stderr(input[range].to_vec())),
                (Event::End { app_status, protocol }, _) => reads.push(Read::End(app_status, protocol)),
            });
            from = to;
            match fed {
                Ok(taken) => all += taken,
                Err(fault) => {
                    reads.push(Read::Fault(fault));
                    break;
                }
            }
        }
        (reads, all)
    }

    #[test]
    fn an_answer_with_complaints_and_padding() {
        let wire = [
            record(STDERR, b"warning", 1),
            record(STDOUT, b"Content-type: text/plain\r\n\r\n", 0),
            record(STDOUT, b"hello", 3),
            record(STDERR, b"", 0),
            record(STDOUT, b"", 8),
            record(END_REQUEST, &[0, 0, 1, 2, 0, 9, 9, 9], 5),
            b"NEXT".to_vec(),
        ]
        .concat();
        let (reads, taken) = read(&wire, &[]);
        assert_eq!(
            reads,
            [
                Read::Stderr(b"warning".to_vec()),
                Read::Stdout(b"Content-type: text/plain\r\n\r\nhello".to_vec()),
                Read::End(258, Protocol::Complete),
            ]
        );
        assert_eq!(taken, wire.len() - 4, "what comes behind the end is left");
    }

    #[test]
    fn the_end_comes_only_after_its_padding() {
        let wire = record(END_REQUEST, &[0, 0, 0, 0, 2, 0, 0, 0], 2);
        let mut decoder = Decoder::default();
        decoder.feed(&wire[..17], |event| panic!("{event:?}")).unwrap();
        assert!(!decoder.is_done());
        let mut events = Vec::new();
        decoder.feed(&wire[17..], |event| events.push(event)).unwrap();
        assert_eq!(events, [Event::End { app_status: 0, protocol: Protocol::Overloaded }]);
        assert!(decoder.is_done());
    }

    #[test]
    fn faults_by_name() {
        let end = |content: &[u8]| record(END_REQUEST, content, 0);
        let cases: Vec<(Vec<u8>, Fault)> = vec![
            (b"HTTP/1.1 200 OK".to_vec(), Fault::Version(b'H')),
            (vec![1, STDOUT, 0, 2, 0, 0, 0, 0], Fault::RequestId(2)),
            (vec![1, STDOUT, 1, 1, 0, 0, 0, 0], Fault::RequestId(257)),
            (vec![1, 11, 0, 0, 0, 8, 0, 0], Fault::RequestId(0)),
            (record(1, b"", 0), Fault::Kind(1)),
            (record(11, b"", 0), Fault::Kind(11)),
            ([record(STDOUT, b"", 0), record(STDOUT, b"a", 0)].concat(), Fault::StreamOver(STDOUT)),
            ([record(STDERR, b"", 0), record(STDERR, b"", 0)].concat(), Fault::StreamOver(STDERR)),
            (end(b""), Fault::EndLength(0)),
            (end(&[0; 9]), Fault::EndLength(9)),
            (end(&[0, 0, 0, 0, 4, 0, 0, 0]), Fault::EndProtocol(4)),
        ];
        for (wire, fault) in cases {
            assert_eq!(read(&wire, &[]).0.last(), Some(&Read::Fault(fault)), "{}", wire.escape_ascii());
        }
    }

    /// Records that mostly are right.
    fn records() -> impl Strategy<Value = Vec<u8>> {
        let kind = prop::sample::select(vec![STDOUT, STDOUT, STDOUT, STDERR, END_REQUEST, 9]);
        let one =
            (kind, prop::collection::vec(0u8..5, 0..20), 0u8..10).prop_map(|(kind, content, padding)| match kind {
                END_REQUEST => record(END_REQUEST, &[0, 0, 0, padding, content.len() as u8 / 5, 0, 0, 0], padding),
                _ => record(kind, &content, padding),
            });
        prop::collection::vec(one, 0..8).prop_map(|records| records.concat())
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(
            wire in prop_oneof![9 => records(), 1 => prop::collection::vec(any::<u8>(), 0..64)],
            at in any::<prop::sample::Index>(),
        ) {
            let whole = read(&wire, &[]);
            let cut = at.index(wire.len() + 1);
            let bytes: Vec<usize> = (1..wire.len().max(1)).collect();
            prop_assert_eq!(&whole.0, &read(&wire, &[cut]).0);
            prop_assert_eq!(&whole.0, &read(&wire, &bytes).0);
            if !matches!(whole.0.last(), Some(Read::Fault(_))) {
                prop_assert_eq!(whole.1, read(&wire, &[cut]).1);
            }
        }
    }
}
