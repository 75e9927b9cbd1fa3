//! The chunked transfer coding (RFC 9112 § 7.1), one byte of framing at a time.

use super::framing::is_token;
use super::{Kind, Refusal};

/// Digits of the largest chunk size: 2^60 bytes, far from overflow.
const SIZE_DIGITS_MAX: u8 = 15;
/// Bytes of all extensions of one chunk. Nobody uses them; a limit is asked for by RFC 9112 § 7.1.1.
const EXTENSION_BYTES_MAX: u16 = 256;
/// Bytes of the whole trailer section: as one header line of a generous server.
const TRAILER_BYTES_MAX: u16 = 8 * 1024;
/// The longest name that is forbidden in a trailer, and one more.
const NAME_KEPT: usize = 20;

/// The trailer that would change what an application believes if it merged it, besides all that means something to a proxy: framing,
/// routing, the connection, where a request comes from, who sends it, on what condition, and what caches may do (RFC 9110 § 6.5.1).
const FORBIDDEN: &[u8] = b"trailer";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Size,
    Extension,
    SizeFeed,
    Data,
    DataReturn,
    DataFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerFeed,
    LastFeed,
    Nothing,
}

/// Where in a chunked body we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunked {
    expects: Expects,
    left: u64,
    digits: u8,
    extension: u16,
    trailer: u16,
    name: [u8; NAME_KEPT],
    name_len: u8,
}

/// What the next bytes of the input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of framing.
    Framing(usize),
    /// So many bytes of the body itself.
    Data(usize),
    /// So many bytes of the trailer section.
    Trailer(usize),
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked {
            expects: Expects::Size,
            left: 0,
            digits: 0,
            extension: 0,
            trailer: 0,
            name: [0; NAME_KEPT],
            name_len: 0,
        }
    }
}

impl Chunked {
    /// Whether the last chunk and the trailers are through.
    pub fn is_done(&self) -> bool {
        self.expects == Expects::Nothing
    }

    /// Takes the next piece of `input`, which is not empty, unless the body is done.
    pub fn step(&mut self, input: &[u8]) -> Result<Piece, Refusal> {
        if self.expects == Expects::Data {
            return Ok(Piece::Data(self.take_data(input.len())));
        }
        let trailer = self.in_trailer();
        let piece = if trailer { Piece::Trailer } else { Piece::Framing };
        for (place, byte) in input.iter().enumerate() {
            if matches!(self.expects, Expects::Data | Expects::Nothing) || self.in_trailer() != trailer {
                return Ok(piece(place));
            }
            self.framing(*byte)?;
        }
        Ok(piece(input.len()))
    }

    fn in_trailer(&self) -> bool {
        use Expects::{LastFeed, TrailerFeed, TrailerName, TrailerStart, TrailerValue};
        matches!(self.expects, TrailerStart | TrailerName | TrailerValue | TrailerFeed | LastFeed)
    }

    fn take_data(&mut self, available: usize) -> usize {
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(available);
        self.left -= taken as u64;
        if self.left == 0 {
            self.expects = Expects::DataReturn;
        }
        taken
    }

    /// One byte of framing.
    fn framing(&mut self, byte: u8) -> Result<(), Refusal> {
        self.expects = match self.expects {
            // ## Size => (Size | Extension | SizeFeed)
            Expects::Size => self.size(byte)?,
            // ## Extension => (Extension | SizeFeed)
            Expects::Extension => self.extension(byte)?,
            // ## SizeFeed => (Data | TrailerStart)
            Expects::SizeFeed => self.after_size(byte)?,
            // ## DataReturn => DataFeed => Size
            Expects::DataReturn => literal(byte, b'\r', Expects::DataFeed, Refusal::ChunkUnterminated)?,
            Expects::DataFeed => self.next_chunk(byte)?,
            // ## TrailerStart => (LastFeed | TrailerName)
            Expects::TrailerStart if byte == b'\r' => Expects::LastFeed,
            Expects::TrailerStart | Expects::TrailerName => self.trailer_name(byte)?,
            // ## TrailerValue => (TrailerValue | TrailerFeed), TrailerFeed => TrailerStart
            Expects::TrailerValue => self.trailer_value(byte)?,
            Expects::TrailerFeed => literal(byte, b'\n', Expects::TrailerStart, Refusal::TrailerInvalid)?,
            Expects::LastFeed => literal(byte, b'\n', Expects::Nothing, Refusal::TrailerInvalid)?,
            Expects::Data | Expects::Nothing => self.expects,
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<Expects, Refusal> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(_), _) if self.digits == SIZE_DIGITS_MAX => Err(Refusal::ChunkSizeTooLarge),
            (Some(digit), _) => {
                self.left = self.left << 4 | u64::from(digit);
                self.digits += 1;
                Ok(Expects::Size)
            }
            (None, b'\r') if self.digits > 0 => Ok(Expects::SizeFeed),
            (None, b';') if self.digits > 0 => Ok(Expects::Extension),
            _ => Err(Refusal::ChunkSizeInvalid),
        }
    }

    fn extension(&mut self, byte: u8) -> Result<Expects, Refusal> {
        self.extension += 1;
        match byte {
            b'\r' => Ok(Expects::SizeFeed),
            _ if self.extension > EXTENSION_BYTES_MAX => Err(Refusal::ChunkExtensionTooLong),
            b'\t' | b' '..=b'~' => Ok(Expects::Extension),
            _ => Err(Refusal::ChunkExtensionInvalid),
        }
    }

    fn after_size(&mut self, byte: u8) -> Result<Expects, Refusal> {
        let next = if self.left == 0 { Expects::TrailerStart } else { Expects::Data };
        literal(byte, b'\n', next, Refusal::ChunkSizeInvalid)
    }

    fn next_chunk(&mut self, byte: u8) -> Result<Expects, Refusal> {
        (self.digits, self.extension, self.left) = (0, 0, 0);
        literal(byte, b'\n', Expects::Size, Refusal::ChunkUnterminated)
    }

    fn count_trailer(&mut self) -> Result<(), Refusal> {
        self.trailer += 1;
        if self.trailer > TRAILER_BYTES_MAX { Err(Refusal::TrailerTooLong) } else { Ok(()) }
    }

    fn trailer_name(&mut self, byte: u8) -> Result<Expects, Refusal> {
        self.count_trailer()?;
        if self.expects == Expects::TrailerStart {
            self.name_len = 0;
        }
        match byte {
            b':' if self.name_len > 0 => self.allowed_name().map(|()| Expects::TrailerValue),
            _ if is_token(byte) => {
                self.keep_name(byte);
                Ok(Expects::TrailerName)
            }
            _ => Err(Refusal::TrailerInvalid),
        }
    }

    fn keep_name(&mut self, byte: u8) {
        let place = usize::from(self.name_len).min(NAME_KEPT - 1);
        self.name[place] = byte.to_ascii_lowercase();
        self.name_len = (place + 1) as u8;
    }

    fn allowed_name(&self) -> Result<(), Refusal> {
        let name = &self.name[..usize::from(self.name_len)];
        if name == FORBIDDEN || Kind::of(name) != Kind::Other { Err(Refusal::TrailerForbidden) } else { Ok(()) }
    }

    fn trailer_value(&mut self, byte: u8) -> Result<Expects, Refusal> {
        self.count_trailer()?;
        match byte {
            b'\r' => Ok(Expects::TrailerFeed),
            b'\t' | b' '..=b'~' | 0x80.. => Ok(Expects::TrailerValue),
            _ => Err(Refusal::TrailerInvalid),
        }
    }
}

fn literal(byte: u8, expected: u8, next: Expects, refusal: Refusal) -> Result<Expects, Refusal> {
    if byte == expected { Ok(next) } else { Err(refusal) }
}
