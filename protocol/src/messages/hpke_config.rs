//! HPKE configurations and ciphertexts (DAP-18 sections 4.1 and 4.4.1).

use crate::codec::{CodecError, Decode, Encode, Reader, put_opaque16, put_opaque32};

/// What a sender needs to seal to a recipient. Only the suite of [`crate::hpke`] can be used; others
/// are kept as they are, so that a list that holds them can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpkeConfig {
    /// Distinct among the configurations of one server.
    pub id: u8,
    /// Key encapsulation.
    pub kem_id: u16,
    /// Key derivation.
    pub kdf_id: u16,
    /// Authenticated encryption.
    pub aead_id: u16,
    /// The recipient's key, encoded as its KEM says; 1 to 65,535 bytes.
    public_key: Vec<u8>,
}

impl HpkeConfig {
    /// A configuration of the one suite that Arras speaks.
    pub fn new(id: u8, public_key: &crate::hpke::PublicKey) -> Self {
        Self {
            id,
            kem_id: crate::hpke::KEM_ID,
            kdf_id: crate::hpke::KDF_ID,
            aead_id: crate::hpke::AEAD_ID,
            public_key: public_key.as_bytes().to_vec(),
        }
    }

    /// The key, if the suite is ours and the key well formed.
    pub fn public_key(&self) -> Option<crate::hpke::PublicKey> {
        let suite = (self.kem_id, self.kdf_id, self.aead_id);
        if suite != (crate::hpke::KEM_ID, crate::hpke::KDF_ID, crate::hpke::AEAD_ID) {
            return None;
        }
        crate::hpke::PublicKey::try_from(self.public_key.as_slice()).ok()
    }
}

impl Encode for HpkeConfig {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.id);
        out.extend_from_slice(&self.kem_id.to_be_bytes());
        out.extend_from_slice(&self.kdf_id.to_be_bytes());
        out.extend_from_slice(&self.aead_id.to_be_bytes());
        put_opaque16(out, &self.public_key);
    }
}

impl Decode for HpkeConfig {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let id = reader.u8("hpke_config.id")?;
        let kem_id = reader.u16("hpke_config.kem_id")?;
        let kdf_id = reader.u16("hpke_config.kdf_id")?;
        let aead_id = reader.u16("hpke_config.aead_id")?;
        let public_key = reader.opaque16("hpke_config.public_key")?.to_vec();
        if public_key.is_empty() {
            return Err(CodecError::Invalid { field: "hpke_config.public_key", reason: "must not be empty" });
        }
        Ok(Self { id, kem_id, kdf_id, aead_id, public_key })
    }
}

/// The configurations of a server in decreasing order of preference; never empty, ids distinct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpkeConfigList(Vec<HpkeConfig>);

impl HpkeConfigList {
    /// Checks that there is one, that ids are distinct, and that the encoding fits.
    pub fn new(configs: Vec<HpkeConfig>) -> Result<Self, CodecError> {
        const FIELD: &str = "hpke_config_list";
        if configs.is_empty() {
            return Err(CodecError::Invalid { field: FIELD, reason: "must not be empty" });
        }
        for (index, config) in configs.iter().enumerate() {
            if configs[..index].iter().any(|earlier| earlier.id == config.id) {
                return Err(CodecError::Invalid { field: FIELD, reason: "ids must be distinct" });
            }
        }
        if configs.iter().map(|config| 9 + config.public_key.len()).sum::<usize>() > usize::from(u16::MAX) {
            return Err(CodecError::Invalid { field: FIELD, reason: "longer than 65535 bytes" });
        }
        Ok(Self(configs))
    }

    /// In order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &HpkeConfig> {
        self.0.iter()
    }

    /// The first one that this crate can seal to.
    pub fn supported(&self) -> Option<&HpkeConfig> {
        self.0.iter().find(|config| config.public_key().is_some())
    }
}

impl Encode for HpkeConfigList {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        for config in &self.0 {
            config.encode(&mut list);
        }
        put_opaque16(out, &list);
    }
}

impl Decode for HpkeConfigList {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let mut list = Reader::new(reader.opaque16("hpke_config_list")?);
        Self::new(crate::codec::decode_to_end(&mut list)?)
    }
}

/// A sealed message, borrowed from the request that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpkeCiphertextRef<'a> {
    /// Names the recipient's configuration.
    pub config_id: u8,
    /// The encapsulated key; not empty.
    pub enc: &'a [u8],
    /// The ciphertext; not empty.
    pub payload: &'a [u8],
}

impl<'a> HpkeCiphertextRef<'a> {
    /// Reads one from the front.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, CodecError> {
        let config_id = reader.u8("ciphertext.config_id")?;
        let enc = reader.opaque16("ciphertext.enc")?;
        let payload = reader.opaque32("ciphertext.payload")?;
        if enc.is_empty() {
            return Err(CodecError::Invalid { field: "ciphertext.enc", reason: "must not be empty" });
        }
        if payload.is_empty() {
            return Err(CodecError::Invalid { field: "ciphertext.payload", reason: "must not be empty" });
        }
        Ok(Self { config_id, enc, payload })
    }

    /// A copy that owns its bytes.
    pub fn to_owned(self) -> HpkeCiphertext {
        HpkeCiphertext { config_id: self.config_id, enc: self.enc.to_vec(), payload: self.payload.to_vec() }
    }
}

impl Encode for HpkeCiphertextRef<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.config_id);
        put_opaque16(out, self.enc);
        put_opaque32(out, self.payload);
    }
}

/// A sealed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpkeCiphertext {
    config_id: u8,
    enc: Vec<u8>,
    payload: Vec<u8>,
}

impl HpkeCiphertext {
    /// What sealing to the configuration `config_id` gave.
    pub fn new(config_id: u8, sealed: crate::hpke::Sealed) -> Self {
        Self { config_id, enc: sealed.enc.to_vec(), payload: sealed.ciphertext }
    }

    /// Borrowed.
    pub fn as_ref(&self) -> HpkeCiphertextRef<'_> {
        HpkeCiphertextRef { config_id: self.config_id, enc: &self.enc, payload: &self.payload }
    }
}

impl Encode for HpkeCiphertext {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_ref().encode(out);
    }
}

impl Decode for HpkeCiphertext {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        HpkeCiphertextRef::decode(reader).map(HpkeCiphertextRef::to_owned)
    }
}
