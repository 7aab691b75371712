//! Extensions: of tasks, reports, aggregation jobs and collection jobs. All four have the same
//! shape, a 16-bit type and opaque data, in strictly increasing order of type.

use crate::codec::{CodecError, Decode, Encode, Reader, put_opaque16};

/// One extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its type, from the registry of the message that carries it.
    pub kind: u16,
    /// Its data.
    pub data: Vec<u8>,
}

/// A list of extensions in strictly increasing order of type; its encoding fits 65,535 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<Extension>);

impl Extensions {
    /// No extensions.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Checks order and length.
    pub fn new(extensions: Vec<Extension>) -> Result<Self, CodecError> {
        let mut length = 0_usize;
        for extension in &extensions {
            if extension.data.len() > usize::from(u16::MAX) {
                return Err(CodecError::Invalid {
                    field: "extension_data",
                    reason: "longer than 65535 bytes",
                });
            }
            length += 4 + extension.data.len();
        }
        if length > usize::from(u16::MAX) {
            return Err(CodecError::Invalid { field: "extensions", reason: "longer than 65535 bytes" });
        }
        for pair in extensions.windows(2) {
            check_order(pair[0].kind, pair[1].kind)?;
        }
        Ok(Self(extensions))
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Extension> {
        self.0.iter()
    }

    /// The data of the extension of this type.
    pub fn get(&self, kind: u16) -> Option<&[u8]> {
        self.0.iter().find(|extension| extension.kind == kind).map(|extension| extension.data.as_slice())
    }

    /// Types that are not among `known`, for the error that names them.
    pub fn unknown(&self, known: &[u16]) -> Vec<u16> {
        self.0.iter().map(|extension| extension.kind).filter(|kind| !known.contains(kind)).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_order(previous: u16, found: u16) -> Result<(), CodecError> {
    if found <= previous { Err(CodecError::ExtensionOrder { previous, found }) } else { Ok(()) }
}

/// Walks over an encoded list without copying, checking order as it goes.
pub(crate) fn check_extensions(list: &[u8], mut each: impl FnMut(u16, &[u8])) -> Result<(), CodecError> {
    let mut reader = Reader::new(list);
    let mut previous = None;
    while !reader.is_empty() {
        let kind = reader.u16("extension_type")?;
        let data = reader.opaque16("extension_data")?;
        if let Some(previous) = previous {
            check_order(previous, kind)?;
        }
        previous = Some(kind);
        each(kind, data);
    }
    Ok(())
}

impl Encode for Extensions {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        for extension in &self.0 {
            list.extend_from_slice(&extension.kind.to_be_bytes());
            put_opaque16(&mut list, &extension.data);
        }
        put_opaque16(out, &list);
    }
}

impl Decode for Extensions {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut extensions = Vec::new();
        check_extensions(reader.opaque16("extensions")?, |kind, data| {
            extensions.push(Extension { kind, data: data.to_vec() });
        })?;
        Ok(Self(extensions))
    }
}
