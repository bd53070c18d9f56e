//! A tar stream → files, as values: nothing is ever written anywhere. No I/O.
//!
//! The stream comes from an engine, but what is in it was named and sized by whoever runs in the container. So it is
//! read block by block as it arrives; a header's claims cost no memory, only bytes that have come do, and those are
//! counted. The `tar` crate reads the headers; its own reader is for blocking input and unpacks.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use runner_core::container::UserSpec;
use runner_core::files::{ContainerFile, FileKind};
use tar::{EntryType, Header};

use crate::copy::pax::Pax;

const BLOCK: usize = 512;

/// Longest name or set of extended fields of one entry. Linux paths are up to 4 KiB.
const MAX_EXTENSION: u64 = 64 * 1024;

/// Entries of one copy, and bytes of all their names. A source tree has a tenth of it; who wants more wants it
/// in parts.
const MAX_ENTRIES: usize = 100_000;
const MAX_NAMES: usize = 16 * 1024 * 1024;

/// Why a stream is not a copy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Contents beyond what may be copied.
    TooLarge,
    /// More entries than may be copied, or longer names.
    TooMany,
    /// Not what an engine sends.
    Odd(String),
}

fn odd<T>(what: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Odd(what.into()))
}

/// Reads one archive.
#[derive(Debug)]
pub(crate) struct Untar {
    files: Vec<ContainerFile>,
    /// Where a file's contents are, for other names of the same file.
    contents: HashMap<PathBuf, usize>,
    left: u64,
    names: usize,
    /// A header that is not complete.
    block: Vec<u8>,
    state: State,
    /// What came before an entry and belongs to it.
    pax: Pax,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    Header,
    /// Bytes of something, then the rest of its last block.
    Data {
        what: Data,
        left: u64,
        padding: u64,
    },
    /// The end was announced; what follows is filling.
    End,
}

#[derive(Debug)]
enum Data {
    /// Contents of the last file.
    File,
    /// An extension of the next entry.
    Extension(EntryType, Vec<u8>),
    /// Of nothing that is wanted.
    Skipped,
}

impl Untar {
    /// Contents of up to so many bytes in all are taken.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self {
            files: Vec::new(),
            contents: HashMap::new(),
            left: max_bytes,
            names: 0,
            block: Vec::new(),
            state: State::Header,
            pax: Pax::default(),
            long_name: None,
            long_link: None,
        }
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::End => return Ok(()),
                State::Header => {
                    let (part, rest) = bytes.split_at((BLOCK - self.block.len()).min(bytes.len()));
                    self.block.extend_from_slice(part);
                    bytes = rest;
                    if self.block.len() == BLOCK {
                        let block = std::mem::take(&mut self.block);
                        self.header(&block)?;
                    }
                }
                State::Data { what, left, padding } => {
                    let part = take(&mut bytes, left);
                    match what {
                        Data::File => {
                            if let Some(ContainerFile { kind: FileKind::File(bytes), .. }) =
                                self.files.last_mut()
                            {
                                bytes.extend_from_slice(part);
                            }
                        }
                        Data::Extension(_, bytes) => bytes.extend_from_slice(part),
                        Data::Skipped => {}
                    }
                    if *left == 0 {
                        take(&mut bytes, padding);
                    }
                    self.end_of_data()?;
                }
            }
        }
        Ok(())
    }

    /// What has been read; `None`: it broke off before its end.
    pub(crate) fn finish(self) -> Option<Vec<ContainerFile>> {
        matches!(self.state, State::End).then_some(self.files)
    }

    /// If the data of an entry is complete, the next header follows.
    fn end_of_data(&mut self) -> Result<(), Refused> {
        let State::Data { what, left: 0, padding: 0 } = &mut self.state else { return Ok(()) };
        if let Data::Extension(kind, bytes) = what {
            let bytes = std::mem::take(bytes);
            match *kind {
                EntryType::GNULongName => self.long_name = Some(until_nul(bytes)),
                EntryType::GNULongLink => self.long_link = Some(until_nul(bytes)),
                EntryType::XHeader => match Pax::read(&bytes) {
                    Some(pax) => self.pax = pax,
                    None => return odd("extended fields that cannot be read"),
                },
                // Fields for all that follows: an engine's own are about nothing that is read here.
                _ => {}
            }
        }
        self.state = State::Header;
        Ok(())
    }

    fn header(&mut self, block: &[u8]) -> Result<(), Refused> {
        if block.iter().all(|b| *b == 0) {
            self.state = State::End;
            return Ok(());
        }
        let header = Header::from_byte_slice(block);
        if header.cksum().ok() != Some(checksum(block)) {
            return odd("a header with a wrong checksum");
        }
        let Ok(claimed) = header.entry_size() else { return odd("a header without a size") };
        let kind = header.entry_type();
        match kind {
            EntryType::XHeader
            | EntryType::XGlobalHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink => {
                if claimed > MAX_EXTENSION {
                    return odd("a name beyond all measure");
                }
                self.data(Data::Extension(kind, Vec::new()), claimed)
            }
            EntryType::GNUSparse => odd("a file with holes"),
            _ if self.pax.is_sparse() => odd("a file with holes"),
            _ => self.entry(header, kind, claimed),
        }
    }

    fn entry(&mut self, header: &Header, kind: EntryType, claimed: u64) -> Result<(), Refused> {
        let pax = std::mem::take(&mut self.pax);
        let name = self.long_name.take().or(pax.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = self.long_link.take().or(pax.link);
        let link =
            link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
        let size = pax.size.unwrap_or(claimed);
        let id = |extended: Option<u64>, plain: std::io::Result<u64>| {
            extended.or(plain.ok()).and_then(|id| u32::try_from(id).ok())
        };
        let (Some(uid), Some(gid), Ok(mode)) =
            (id(pax.uid, header.uid()), id(pax.gid, header.gid()), header.mode())
        else {
            return odd("an entry without an owner or a mode");
        };
        self.names = self.names.saturating_add(name.len()).saturating_add(link.len());
        if self.files.len() == MAX_ENTRIES || self.names > MAX_NAMES {
            return Err(Refused::TooMany);
        }
        let path = inside(&name)?;
        // A link, a directory or a device has no data, whatever is claimed.
        let (file, data) = match kind {
            EntryType::Regular | EntryType::Continuous => (FileKind::File(Vec::new()), size),
            EntryType::Directory => (FileKind::Directory, 0),
            EntryType::Symlink => (FileKind::Link(PathBuf::from(OsString::from_vec(link))), 0),
            EntryType::Link => (self.same_as(&inside(&link)?)?, 0),
            EntryType::Char | EntryType::Block | EntryType::Fifo => (FileKind::Other, 0),
            _ => (FileKind::Other, size),
        };
        let what = if matches!(file, FileKind::File(_)) {
            // Known before its bytes come: there is no need to wait for them.
            if data > self.left {
                return Err(Refused::TooLarge);
            }
            self.left -= data;
            self.contents.insert(path.clone(), self.files.len());
            Data::File
        } else {
            Data::Skipped
        };
        self.files.push(ContainerFile {
            path,
            mode: mode & 0o7777,
            owner: UserSpec { uid, gid },
            kind: file,
        });
        self.data(what, data)
    }

    /// Another name of a file: the same contents, which count once more.
    fn same_as(&mut self, path: &Path) -> Result<FileKind, Refused> {
        let first = self.contents.get(path).and_then(|at| self.files.get(*at));
        let Some(ContainerFile { kind: FileKind::File(bytes), .. }) = first else {
            return odd("another name of a file that is not there");
        };
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => return Err(Refused::TooLarge),
        }
        Ok(FileKind::File(bytes.clone()))
    }

    fn data(&mut self, what: Data, left: u64) -> Result<(), Refused> {
        let padding = (BLOCK as u64 - left % BLOCK as u64) % BLOCK as u64;
        self.state = State::Data { what, left, padding };
        self.end_of_data()
    }
}

/// The next bytes of a part of which some are left.
fn take<'a>(bytes: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    let (part, rest) = bytes.split_at(count);
    *bytes = rest;
    *left -= count as u64;
    part
}

/// A header's sum, its own field counted as spaces.
fn checksum(block: &[u8]) -> u32 {
    let field = 148..156;
    block.iter().enumerate().map(|(at, b)| u32::from(if field.contains(&at) { b' ' } else { *b })).sum()
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// A path that stays inside, as an engine writes them: relative, with a slash after a directory.
fn inside(name: &[u8]) -> Result<PathBuf, Refused> {
    let name = PathBuf::from(OsString::from_vec(name.to_vec()));
    let plain: PathBuf = name.components().filter(|part| *part != Component::CurDir).collect();
    let is_inside = plain.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_inside || plain.as_os_str().is_empty() || plain.as_os_str().as_encoded_bytes().contains(&0) {
        return odd(format!("the path {:?}", name.to_string_lossy()));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests;
