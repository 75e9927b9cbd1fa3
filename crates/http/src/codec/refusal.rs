//! Everything that the codec refuses, each under a name of its own.

/// Declares [`Refusal`] from one table, so that no variant lacks a status, a name or a place in [`Refusal::ALL`].
macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $name:literal,)*) => {
        /// Why a message was refused. Refused means: never repaired and forwarded; the connection is closed after the
        /// answer, since where the next message would begin is not known.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refusal { $($(#[$doc])* $variant,)* }

        impl Refusal {
            /// Every refusal, in the order of their counters.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$variant,)*];

            /// The name of its counter; stable, dashboards are built on it.
            pub const fn name(self) -> &'static str {
                match self { $(Refusal::$variant => $name,)* }
            }

            /// The status that a client is answered. A backend's response that is refused is always a 502.
            pub const fn status(self) -> u16 {
                match self { $(Refusal::$variant => $status,)* }
            }
        }
    };
}

refusals! {
    /// A line ends in LF without CR. RFC 9112 § 2.2 lets a recipient accept it; two that differ can be played off.
    BareLineFeed = 400 "bare-line-feed",
    /// A CR that no LF follows (RFC 9112 § 2.2).
    BareCarriageReturn = 400 "bare-carriage-return",
    /// A NUL byte in the head (RFC 9110 § 5.5).
    Nul = 400 "nul",
    /// The first byte cannot begin a request line: most often TLS spoken to a plain port.
    NotHttp = 400 "not-http",
    /// Not `method SP target SP version` (RFC 9112 § 3).
    RequestLineInvalid = 400 "request-line-invalid",
    /// Not `version SP status SP reason` (RFC 9112 § 4).
    StatusLineInvalid = 400 "status-line-invalid",
    /// A version other than HTTP/1.0 and HTTP/1.1.
    VersionUnsupported = 505 "version-unsupported",
    /// The target has a byte that RFC 3986 does not allow, a fragment, or the wrong form for its method.
    TargetInvalid = 400 "target-invalid",
    /// The request line is longer than its limit (RFC 9110 § 15.5.15).
    TargetTooLong = 414 "target-too-long",
    /// CONNECT and TRACE: nobody behind a site's front door needs them.
    MethodNotAllowed = 405 "method-not-allowed",
    /// The head is larger than its limit (RFC 6585 § 5).
    HeadTooLarge = 431 "head-too-large",
    /// More header lines than the limit (RFC 6585 § 5).
    HeadersTooMany = 431 "headers-too-many",
    /// A header continued on the next line: obs-fold (RFC 9112 § 5.2).
    HeaderFolded = 400 "header-folded",
    /// Whitespace between name and colon (RFC 9112 § 5.1).
    SpaceBeforeColon = 400 "space-before-colon",
    /// A header name that is not a token (RFC 9110 § 5.1).
    HeaderNameInvalid = 400 "header-name-invalid",
    /// A header value with a control character (RFC 9110 § 5.5).
    HeaderValueInvalid = 400 "header-value-invalid",
    /// HTTP/1.1 without Host (RFC 9112 § 3.2).
    HostMissing = 400 "host-missing",
    /// More than one Host line (RFC 9112 § 3.2).
    HostRepeated = 400 "host-repeated",
    /// Host is not `host [ ":" port ]` (RFC 9110 § 7.2).
    HostInvalid = 400 "host-invalid",
    /// The authority of an absolute target is not the Host (RFC 9112 § 3.2.2 would ignore Host; we do not guess).
    HostDisagrees = 400 "host-disagrees",
    /// Content-Length is not one decimal number (RFC 9110 § 8.6).
    LengthInvalid = 400 "length-invalid",
    /// Content-Length more than once, equal or not (RFC 9112 § 6.3 item 5 allows to refuse).
    LengthRepeated = 400 "length-repeated",
    /// Content-Length and Transfer-Encoding together (RFC 9112 § 6.1).
    LengthWithEncoding = 400 "length-with-encoding",
    /// Transfer-Encoding on more than one line, or chunked more than once.
    EncodingRepeated = 400 "encoding-repeated",
    /// Transfer-Encoding that is empty, has parameters, or does not end in chunked (RFC 9112 § 6.3 item 4).
    EncodingOdd = 400 "encoding-odd",
    /// A transfer coding that we do not know (RFC 9112 § 6.1).
    EncodingUnknown = 501 "encoding-unknown",
    /// Transfer-Encoding in an HTTP/1.0 message (RFC 9112 § 6.1).
    EncodingInOldVersion = 400 "encoding-in-old-version",
    /// A chunk size that is not hexadecimal, or is not followed by CRLF or an extension (RFC 9112 § 7.1).
    ChunkSizeInvalid = 400 "chunk-size-invalid",
    /// A chunk size of more digits than anything real has.
    ChunkSizeTooLarge = 400 "chunk-size-too-large",
    /// A control character in a chunk extension (RFC 9112 § 7.1.1).
    ChunkExtensionInvalid = 400 "chunk-extension-invalid",
    /// A chunk extension longer than its limit (RFC 9112 § 7.1.1 asks for one).
    ChunkExtensionTooLong = 400 "chunk-extension-too-long",
    /// The data of a chunk is not followed by CRLF.
    ChunkUnterminated = 400 "chunk-unterminated",
    /// A trailer line that is no header line (RFC 9112 § 7.1.2).
    TrailerInvalid = 400 "trailer-invalid",
    /// Trailers larger than their limit.
    TrailerTooLong = 400 "trailer-too-long",
    /// A trailer that names framing or routing (RFC 9110 § 6.5.1).
    TrailerForbidden = 400 "trailer-forbidden",
    /// Connection names more headers than any client does.
    ConnectionOptionsTooMany = 400 "connection-options-too-many",
    /// An Expect other than 100-continue (RFC 9110 § 10.1.1).
    ExpectationUnknown = 417 "expectation-unknown",
    /// A request for WebSocket that is no GET or has a body (RFC 6455 § 4.1).
    UpgradeOdd = 400 "upgrade-odd",
    /// A backend switched protocols unasked.
    SwitchedUnasked = 400 "switched-unasked",
    /// The body is larger than its limit.
    BodyTooLarge = 413 "body-too-large",
    /// The head did not arrive in time.
    HeadTimeout = 408 "head-timeout",
    /// The body stopped arriving.
    BodyTimeout = 408 "body-timeout",
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_place_is_its_own() {
        let mut names: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refusal::ALL.len());
        assert!(Refusal::ALL.iter().enumerate().all(|(place, refusal)| *refusal as usize == place));
    }
}
