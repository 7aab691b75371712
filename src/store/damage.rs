//! What can be wrong with a store's files, and what an operator does about each.

use std::fmt;

/// What is on disk is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Damage {
    /// A segment: where a record should begin, none does.
    NoFrame,
    /// A segment: a record's bytes are not those that were written.
    Checksum,
    /// A segment: the file ends before what it held.
    Shorter,
    /// A segment: the first bytes of the file are not those of this segment.
    WrongHeader,
    /// A segment: it was written for another store, or another part of this one.
    OtherSpool,
    /// A segment: no segment grows so large.
    TooLarge,
    /// A segment is missing between two others.
    MissingSegment,
    /// The segments end before a record that was acknowledged.
    EndsEarly,
    /// The segments begin after a record that is still needed.
    BeginsLate,
    /// The folder of a task's reports is missing.
    MissingFolder,
    /// sled's entries are not those of the last commit.
    Entries,
    /// An entry that every store has is not as this version writes it.
    OwnEntries,
    /// A row is not as this version writes it.
    Row,
    /// sled cannot open its files.
    EngineOpening,
    /// sled says that its files are damaged.
    EngineReports,
    /// sled stopped in the middle of a call.
    EngineStopped,
    /// The watermark: neither of its two places can be read.
    WatermarkSlots,
    /// The watermark: its two places are of two stores.
    WatermarkStores,
}

/// A segment other than the last one of its folder never changes, so a copy of it, however old, is whole.
const SEGMENT: &str = "Stop, check the disk, and put back a copy of this file if there is one that is just as long as it \
                       was; a segment that is not the last one of its folder never changes. Without one, start a new, \
                       empty store with new keys and new tasks";

const STATE: &str = "Stop, check the disk, and put the newest copy of the whole store back. If it is lost, start a new, empty \
                     store with new keys and new tasks";

const WATERMARK: &str = "Stop and check the disk. If the file cannot be recovered, start a new, empty store with new keys and new tasks";

impl Damage {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::NoFrame,
        Self::Checksum,
        Self::Shorter,
        Self::WrongHeader,
        Self::OtherSpool,
        Self::TooLarge,
        Self::MissingSegment,
        Self::EndsEarly,
        Self::BeginsLate,
        Self::MissingFolder,
        Self::Entries,
        Self::OwnEntries,
        Self::Row,
        Self::EngineOpening,
        Self::EngineReports,
        Self::EngineStopped,
        Self::WatermarkSlots,
        Self::WatermarkStores,
    ];

    /// What is wrong, in words.
    pub const fn found(self) -> &'static str {
        match self {
            Self::NoFrame => "no record begins here",
            Self::Checksum => "a record's content does not match its checksum",
            Self::Shorter => "the file is shorter than it was",
            Self::WrongHeader => "this is not the header of a segment with this number",
            Self::OtherSpool => "the segment was not written for this folder of this store",
            Self::TooLarge => "the file is larger than any segment",
            Self::MissingSegment => "the file is missing, though later ones are there",
            Self::EndsEarly => "the segments end before a record that was acknowledged",
            Self::BeginsLate => "the segments begin after a record that is still needed",
            Self::MissingFolder => "the folder of a task's reports is missing",
            Self::Entries => "entries are lost, or stand in an older version",
            Self::OwnEntries => "the store's own entries are malformed",
            Self::Row => "a row is malformed",
            Self::EngineOpening => "the storage engine cannot make sense of it",
            Self::EngineReports => "the storage engine reports corruption",
            Self::EngineStopped => "the storage engine broke off a call",
            Self::WatermarkSlots => "neither of its two places can be read",
            Self::WatermarkStores => "its two places name different stores",
        }
    }

    /// What to do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NoFrame
            | Self::Checksum
            | Self::Shorter
            | Self::WrongHeader
            | Self::EndsEarly
            | Self::BeginsLate
            | Self::MissingFolder => SEGMENT,
            Self::OtherSpool | Self::TooLarge => {
                "Stop, and take the file away if it was copied here; put back what was here before. Without it, start a new, \
                 empty store with new keys and new tasks"
            }
            Self::MissingSegment => {
                "Stop, and put a copy of it back; or, if older files than it were copied here, take those away. Without \
                 it, start a new, empty store with new keys and new tasks"
            }
            Self::Entries | Self::OwnEntries | Self::Row | Self::EngineOpening | Self::EngineReports => STATE,
            Self::EngineStopped => {
                "Restart the role: it reads the whole store, and says what is wrong with it or goes on"
            }
            Self::WatermarkSlots | Self::WatermarkStores => WATERMARK,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.found(), self.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_once_and_say_what_to_do() {
        // No wildcard: a new kind does not compile before it is counted here.
        let count = |damage: &Damage| match damage {
            Damage::NoFrame
            | Damage::Checksum
            | Damage::Shorter
            | Damage::WrongHeader
            | Damage::OtherSpool
            | Damage::TooLarge
            | Damage::MissingSegment
            | Damage::EndsEarly
            | Damage::BeginsLate
            | Damage::MissingFolder
            | Damage::Entries
            | Damage::OwnEntries
            | Damage::Row
            | Damage::EngineOpening
            | Damage::EngineReports
            | Damage::EngineStopped
            | Damage::WatermarkSlots
            | Damage::WatermarkStores => 1,
        };
        assert_eq!(Damage::ALL.iter().map(count).sum::<usize>(), 18);
        let texts: std::collections::BTreeSet<_> = Damage::ALL.iter().map(|damage| damage.found()).collect();
        assert_eq!(texts.len(), Damage::ALL.len());
        assert!(Damage::ALL.iter().all(|damage| damage.to_string().contains(". ")));
    }
}
