//! What is read back from the disk may be anything: no decoder of a row panics, and what one accepts is what was
//! written, byte for byte.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::buckets::decode_count;
use super::super::collections::Row;
use super::super::core::{decode_collected, decode_task, encode_collected, encode_task};
use super::super::queue::{decode_job, decode_record};
use super::super::responses::Response;

/// Lengths around those of the rows, so that some bytes decode.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..80), vec(0..3_u8, 0..80)]
}

proptest! {
    #[test]
    fn any_bytes_decode_to_what_encodes_the_same(key in bytes(), value in bytes()) {
        if let Some((reports, checksum)) = decode_count(&value) {
            prop_assert_eq!([reports.to_be_bytes().as_slice(), &checksum].concat(), value.clone());
        }
        if let Some(row) = Row::decode(&value) {
            prop_assert_eq!(row.encode(), value.clone());
        }
        if let Some(response) = Response::decode(&value) {
            prop_assert_eq!(response.encode(), value.clone());
        }
        if let Some((number, position)) = decode_job(&key, &value) {
            prop_assert_eq!(number.0.to_be_bytes().to_vec(), key.clone());
            prop_assert_eq!(position.to_bytes().to_vec(), value.clone());
        }
        if let Some((positions, request)) = decode_record(&value) {
            let count = u32::try_from(positions.len()).unwrap();
            let positions: Vec<u8> = positions.iter().flat_map(|position| position.to_bytes()).collect();
            prop_assert_eq!([&count.to_be_bytes(), positions.as_slice(), request].concat(), value.clone());
        }
        if let Some(window) = decode_collected(&key, &value) {
            prop_assert_eq!(window.interval.start().0.to_be_bytes().to_vec(), key.clone());
            prop_assert_eq!(encode_collected(&window), value.clone());
        }
        if let Some(task) = decode_task(&value) {
            prop_assert_eq!(encode_task(&task), value.clone());
        }
    }
}

/// The property above would hold for decoders that accept nothing.
#[test]
fn rows_as_they_are_written_decode() {
    assert!(decode_count(&[1; 40]).is_some());
    assert!(decode_job(&[1; 8], &[1; 8]).is_some());
    assert!(decode_record(&[&[0, 0, 0, 2], [7; 16].as_slice(), b"request"].concat()).is_some());
    assert!(Response::decode(&[1; 24]).is_some());
    // Draining, an interval, a fence, a time, a request.
    assert!(Row::decode(&[[0].as_slice(), &[0; 32], b"request"].concat()).is_some());
    // Ends after its start; not finished.
    let value = [9_u64.to_be_bytes().as_slice(), &[7; 16], &[0], &[0; 4], &[0; 8], &[5; 32]].concat();
    assert!(decode_collected(&3_u64.to_be_bytes(), &value).is_some());
    let record = super::record(&super::histogram());
    assert_eq!(decode_task(&encode_task(&record)), Some(record));
}
