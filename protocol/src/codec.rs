//! Encoding and decoding in the TLS presentation language (RFC 8446 section 3), as DAP-18
//! section 3.4 asks for.
//!
//! Decoding borrows: a [`Reader`] walks over the bytes of a request and hands out slices of it, so
//! that a report is parsed without being copied. It is strict: what is left over after a message
//! is an error, and so is a length that points past the end. Whatever decodes encodes to the same
//! bytes again; tests hold every message to that.

/// Why bytes are not the message they should be. The sender is at fault, whatever the variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end in the middle of a field.
    #[error("the message ends in the middle of {field}")]
    Truncated {
        /// The field that is cut.
        field: &'static str,
    },
    /// The message is complete, and more bytes follow.
    #[error("{count} bytes are left over after the message")]
    LeftOver {
        /// How many.
        count: usize,
    },
    /// A field has a value or a length that the specification rules out.
    #[error("invalid {field}: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A list is longer than the reader takes.
    #[error("more than {max} {field} in one message")]
    TooMany {
        /// What there are too many of.
        field: &'static str,
        /// How many are taken.
        max: usize,
    },
    /// Extensions must come in strictly increasing order of their type, which also rules out
    /// repetitions (DAP-18 sections 4.2.2, 4.5.1, 4.5.3.4, 4.6.2).
    #[error("extension {found:#06x} after {previous:#06x}: extensions must be in strictly increasing order")]
    ExtensionOrder {
        /// The type before.
        previous: u16,
        /// The offending type.
        found: u16,
    },
}

/// A cursor over bytes that hands out borrowed slices.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes that were not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(CodecError::Truncated { field })?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CodecError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(CodecError::Truncated { field })?;
        self.rest = rest;
        Ok(*head)
    }

    /// A `uint8`.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, CodecError> {
        Ok(u8::from_be_bytes(self.array(field)?))
    }

    /// A `uint16`.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, CodecError> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }

    /// A `uint32`.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, CodecError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    /// A `uint64`.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, CodecError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    /// `opaque field<0..2^8-1>`.
    pub fn opaque8(&mut self, field: &'static str) -> Result<&'a [u8], CodecError> {
        let length = self.u8(field)?;
        self.take(usize::from(length), field)
    }

    /// `opaque field<0..2^16-1>`.
    pub fn opaque16(&mut self, field: &'static str) -> Result<&'a [u8], CodecError> {
        let length = self.u16(field)?;
        self.take(usize::from(length), field)
    }

    /// `opaque field<0..2^32-1>`.
    pub fn opaque32(&mut self, field: &'static str) -> Result<&'a [u8], CodecError> {
        let length = self.u32(field)?;
        // A length that does not fit a usize cannot be there either.
        self.take(usize::try_from(length).unwrap_or(usize::MAX), field)
    }

    /// Ends a message: nothing may be left.
    pub fn finish(self) -> Result<(), CodecError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(CodecError::LeftOver { count }),
        }
    }
}

/// A message that can be written. Encoding cannot fail: a value that would not fit its length
/// prefix cannot be constructed.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The encoding as a vector of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A message that can be read.
pub trait Decode: Sized {
    /// Reads one value from the front.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError>;

    /// Reads a value that must be the whole of `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Writes `opaque<..2^8-1>`.
///
/// # Panics
/// If `bytes` is longer than 255: the message types check their lengths when they are made.
pub(crate) fn put_opaque8(out: &mut Vec<u8>, bytes: &[u8]) {
    // Cannot fail: every caller holds a value whose constructor checked the length.
    out.push(u8::try_from(bytes.len()).expect("length was checked at construction"));
    out.extend_from_slice(bytes);
}

/// Writes `opaque<..2^16-1>`.
///
/// # Panics
/// If `bytes` is too long, as above.
pub(crate) fn put_opaque16(out: &mut Vec<u8>, bytes: &[u8]) {
    // Cannot fail: every caller holds a value whose constructor checked the length.
    let length = u16::try_from(bytes.len()).expect("length was checked at construction");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Writes `opaque<..2^32-1>`.
///
/// # Panics
/// If `bytes` has 4 GiB or more, which no message of ours reaches (see the limits of the service).
pub(crate) fn put_opaque32(out: &mut Vec<u8>, bytes: &[u8]) {
    // Cannot fail: bodies are limited to far below 4 GiB before they get here.
    let length = u32::try_from(bytes.len()).expect("bodies are far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Reads items until the end: a vector whose length is that of the HTTP body.
pub(crate) fn decode_to_end<T: Decode>(reader: &mut Reader<'_>) -> Result<Vec<T>, CodecError> {
    let mut items = Vec::new();
    while !reader.is_empty() {
        items.push(T::decode(reader)?);
    }
    Ok(items)
}
