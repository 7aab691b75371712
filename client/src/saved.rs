//! What an app keeps of a device between two runs.
//!
//! A version, then one entry after the other, each with a byte for its kind: the impressions in their order, then for each
//! task, by id, what is known of it and the times of its reports. Integers are big-endian.

use arras_protocol::codec::{CodecError, Decode, Encode, Reader};
use arras_protocol::messages::TaskId;

use crate::contributions::Sent;
use crate::device::Device;

const VERSION: u8 = 1;

const IMPRESSION: u8 = 1;
const TASK: u8 = 2;
const REPORT: u8 = 3;

fn invalid(reason: &'static str) -> CodecError {
    CodecError::Invalid { field: "the saved device", reason }
}

impl Encode for Device {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        for (bucket, posix_seconds) in self.impressions.all() {
            out.push(IMPRESSION);
            out.extend_from_slice(&bucket.to_be_bytes());
            out.extend_from_slice(&posix_seconds.to_be_bytes());
        }
        for (task, sent) in &self.sent {
            out.push(TASK);
            out.extend_from_slice(task.as_bytes());
            out.extend_from_slice(&sent.known_from().to_be_bytes());
            for time in sent.times() {
                out.push(REPORT);
                out.extend_from_slice(&time.to_be_bytes());
            }
        }
    }
}

impl Decode for Device {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        if reader.u8("version")? != VERSION {
            return Err(invalid("it is of another version"));
        }
        let mut device = Self::default();
        while !reader.is_empty() {
            match reader.u8("kind")? {
                IMPRESSION if device.sent.is_empty() => {
                    let (bucket, posix_seconds) = (reader.u32("bucket")?, reader.u64("time")?);
                    if device.impressions.is_full() {
                        return Err(invalid("it has too many impressions"));
                    }
                    device.impressions.remember(bucket, posix_seconds);
                }
                TASK => {
                    let id = TaskId::new(reader.array("task id")?);
                    if device.sent.last_key_value().is_some_and(|(last, _)| *last >= id) {
                        return Err(invalid("its tasks are out of order"));
                    }
                    device.sent.insert(id, Sent::known_since(reader.u64("known from")?));
                }
                REPORT => {
                    let sent = device.sent.last_entry().ok_or_else(|| invalid("a report of no task"))?;
                    let ordered = sent.into_mut().restore(reader.u64("time")?);
                    ordered.then_some(()).ok_or_else(|| invalid("its times are out of order"))?;
                }
                _ => return Err(invalid("an entry is of an unknown kind, or out of place")),
            }
        }
        Ok(device)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::impressions::MAX_IMPRESSIONS;

    fn device(impressions: &[(u32, u64)], sent: &[(u8, u64)]) -> Device {
        let mut device = Device::default();
        for (bucket, time) in impressions {
            device.impressions.remember(*bucket, *time);
        }
        for (task, time) in sent {
            let sent = device.sent.entry(TaskId::new([*task; 32])).or_default();
            if sent.admits(*time, 2).is_ok() {
                sent.count(*time, 2);
            }
        }
        device
    }

    /// An app that was started again began with a new device, and with k reports more in the same week.
    #[test]
    fn a_device_that_was_saved_still_counts_its_reports() {
        let before = device(&[(3, 100), (5, 50)], &[(1, 1_000), (1, 1_001), (2, 1_000)]);
        let after = Device::from_bytes(&before.to_bytes()).unwrap();
        let admits = |task: u8| after.sent[&TaskId::new([task; 32])].admits(1_002, 2).is_ok();
        assert_eq!((admits(1), admits(2)), (false, true));
        assert_eq!(after.impressions.last_touch(100), 3);
    }

    #[test]
    fn what_is_no_saved_device_is_an_error() {
        let saved = device(&[(3, 100)], &[(1, 1_000), (1, 1_001), (2, 1_000)]).to_bytes();
        // Cut between two of its six entries it is a device that knows less.
        let whole = (0..saved.len()).filter(|cut| Device::from_bytes(&saved[..*cut]).is_ok());
        assert_eq!(whole.count(), 6);
        assert!(Device::from_bytes(&[]).is_err());
        assert!(Device::from_bytes(&[2]).is_err());
        let impression = [&[IMPRESSION][..], &[0; 12]].concat();
        let task = |id: u8| [&[TASK][..], &[id; 32], &[0; 8]].concat();
        let report = |time: u64| [&[REPORT][..], &time.to_be_bytes()].concat();
        for entries in [
            vec![report(1)],
            vec![task(1), impression.clone()],
            vec![task(2), task(1)],
            vec![task(1), task(1)],
            vec![task(1), report(2), report(1)],
            vec![vec![4]],
            vec![impression; MAX_IMPRESSIONS + 1],
        ] {
            let bytes = [vec![VERSION], entries.concat()].concat();
            assert!(Device::from_bytes(&bytes).is_err(), "{:?}", &bytes[..bytes.len().min(60)]);
        }
    }

    proptest! {
        #[test]
        fn saved_and_restored_is_the_same(
            impressions in proptest::collection::vec(any::<(u32, u64)>(), 0..20),
            sent in proptest::collection::vec((0..4u8, 0..3_000_000u64), 0..40),
        ) {
            let saved = device(&impressions, &sent).to_bytes();
            prop_assert_eq!(Device::from_bytes(&saved).unwrap().to_bytes(), saved);
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(0..5u8, 0..200)) {
            if let Ok(device) = Device::from_bytes(&bytes) {
                prop_assert_eq!(device.to_bytes(), bytes);
            }
        }
    }
}
