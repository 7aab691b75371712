//! Media types: "application/ppm-dap;message=..." (DAP-18 section 9.1).

/// What an HTTP body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MediaType {
    /// `AggregateShare`.
    AggregateShare,
    /// `AggregateShareReq`.
    AggregateShareReq,
    /// `AggregationJobInitReq`.
    AggregationJobInitReq,
    /// `AggregationJobResp`.
    AggregationJobResp,
    /// `CollectionJobReq`.
    CollectionJobReq,
    /// `CollectionJobResp`.
    CollectionJobResp,
    /// `HpkeConfigList`.
    HpkeConfigList,
    /// `UploadErrors`.
    UploadErrors,
    /// `UploadRequest`.
    UploadRequest,
}

const PREFIX: &str = "application/ppm-dap;message=";

impl MediaType {
    /// The value of `Content-Type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AggregateShare => "application/ppm-dap;message=aggregate-share",
            Self::AggregateShareReq => "application/ppm-dap;message=aggregate-share-req",
            Self::AggregationJobInitReq => "application/ppm-dap;message=aggregation-job-init-req",
            Self::AggregationJobResp => "application/ppm-dap;message=aggregation-job-resp",
            Self::CollectionJobReq => "application/ppm-dap;message=collection-job-req",
            Self::CollectionJobResp => "application/ppm-dap;message=collection-job-resp",
            Self::HpkeConfigList => "application/ppm-dap;message=hpke-config-list",
            Self::UploadErrors => "application/ppm-dap;message=upload-errors",
            Self::UploadRequest => "application/ppm-dap;message=upload-req",
        }
    }

    /// Whether a received `Content-Type` names this message. Case, spaces around the semicolon and
    /// quotes around the value do not matter (RFC 9110 section 8.3.1); other parameters may follow.
    pub fn matches(self, header: &str) -> bool {
        let mut parts = header.split(';');
        let essence = parts.next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/ppm-dap")
            && parts
                .filter_map(|parameter| parameter.split_once('='))
                // The first one decides: what a repeated parameter means is not defined.
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("message"))
                .is_some_and(|(_, value)| {
                    unquoted(value.trim()).eq_ignore_ascii_case(&self.as_str()[PREFIX.len()..])
                })
    }
}

/// Takes off a pair of quotes; one alone stays, and matches nothing.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}
