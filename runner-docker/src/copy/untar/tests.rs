use std::fmt::Write as _;

use tar::Builder;

use super::*;

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o100_644);
    header.set_uid(12_345);
    header.set_gid(6);
    header
}

/// A header with a name that nobody has checked, as hostile ones have.
fn raw(name: &[u8], mut header: Header) -> Vec<u8> {
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let mut data = bytes.to_vec();
    data.resize(bytes.len().next_multiple_of(BLOCK), 0);
    data
}

fn entry(name: &str, kind: EntryType, bytes: &[u8]) -> Vec<u8> {
    [raw(name.as_bytes(), header(kind, bytes.len() as u64)), data(bytes)].concat()
}

fn end() -> Vec<u8> {
    vec![0; 2 * BLOCK]
}

fn pax(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in fields {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        writeln!(text, "{length} {key}={value}").unwrap();
    }
    entry("pax", EntryType::XHeader, text.as_bytes())
}

fn link(name: &str, kind: EntryType, to: &str) -> Vec<u8> {
    let mut header = header(kind, 0);
    header.set_link_name_literal(to).unwrap();
    raw(name.as_bytes(), header)
}

fn read_in(size: usize, bytes: &[u8], max: u64) -> Result<Option<Vec<ContainerFile>>, Refused> {
    let mut untar = Untar::new(max);
    for part in bytes.chunks(size) {
        untar.feed(part)?;
    }
    Ok(untar.finish())
}

fn read(bytes: &[u8]) -> Result<Option<Vec<ContainerFile>>, Refused> {
    read_in(4096, bytes, 1000)
}

fn file(path: &str, kind: FileKind) -> ContainerFile {
    ContainerFile { path: path.into(), mode: 0o644, owner: UserSpec { uid: 12_345, gid: 6 }, kind }
}

fn text(path: &str, contents: &str) -> ContainerFile {
    file(path, FileKind::File(contents.as_bytes().to_vec()))
}

#[test]
fn everything_an_engine_sends_is_read_whatever_pieces_it_arrives_in() {
    let long = format!("d/{}", "n".repeat(200));
    let bytes = [
        entry("d/", EntryType::Directory, b""),
        entry("d/file", EntryType::Regular, b"contents"),
        entry("d/empty", EntryType::Regular, b""),
        entry("d/block", EntryType::Regular, &[b'b'; BLOCK]),
        link("d/link", EntryType::Symlink, "../../etc/passwd"),
        link("d/same", EntryType::Link, "d/file"),
        entry("d/pipe", EntryType::Fifo, b""),
        pax(&[("path", &long), ("uid", "4000000000"), ("mtime", "1.5"), ("SCHILY.xattr.x", "\u{1}")]),
        entry("short", EntryType::Regular, b"1"),
        pax(&[("linkpath", "new\nline")]),
        link("d/odd", EntryType::Symlink, "cut"),
        entry("global", EntryType::XGlobalHeader, b"11 path=xyz"),
        entry("long", EntryType::GNULongName, b"gnu\0"),
        entry("x", EntryType::Regular, b"2"),
        entry("mystery", EntryType::new(b'Q'), b"data of something unknown"),
        entry("last", EntryType::Regular, b"3"),
        end(),
        vec![7; 100],
    ]
    .concat();
    let far = UserSpec { uid: 4_000_000_000, gid: 6 };
    let want = vec![
        file("d", FileKind::Directory),
        text("d/file", "contents"),
        text("d/empty", ""),
        text("d/block", &"b".repeat(BLOCK)),
        file("d/link", FileKind::Link("../../etc/passwd".into())),
        text("d/same", "contents"),
        file("d/pipe", FileKind::Other),
        ContainerFile { owner: far, ..text(&long, "1") },
        file("d/odd", FileKind::Link("new\nline".into())),
        text("gnu", "2"),
        file("mystery", FileKind::Other),
        text("last", "3"),
    ];
    for size in [1, 7, 511, 512, 513, 100_000] {
        let read = read_in(size, &bytes, 10_000).unwrap();
        assert_eq!(read.as_ref(), Some(&want), "pieces of {size}");
    }
}

/// As engine 20.10.24 sent it: names of more than 100 bytes, a link to such, two names of one file, a pipe, a name
/// with a line break, a set-id bit.
#[test]
fn a_recorded_archive_is_read() {
    let files = read_in(777, include_bytes!("../../../tests/fixtures/archive.tar"), 10_000).unwrap().unwrap();
    let at = |path: &str| files.iter().find(|file| file.path == Path::new(path)).expect(path);
    let long = "a".repeat(120);
    assert_eq!(at("workspace").kind, FileKind::Directory);
    assert_eq!(at("workspace").owner, UserSpec { uid: 10_001, gid: 10_001 });
    assert_eq!(at(&format!("workspace/{long}/é/{long}")).kind, FileKind::File(b"x\n".to_vec()));
    assert_eq!(at("workspace/h1").mode, 0o4755);
    assert_eq!(at("workspace/h2").kind, at("workspace/h1").kind);
    assert_eq!(at("workspace/longlink").kind, FileKind::Link(format!("{long}/{long}/{long}").into()));
    assert_eq!(at("workspace/new\nline").kind, FileKind::File(b"x".to_vec()));
    assert_eq!(at("workspace/pipe").kind, FileKind::Other);
    assert_eq!(files.len(), 9);
}

#[test]
fn an_archive_that_breaks_off_is_not_taken_for_whole() {
    let bytes = [
        entry("a", EntryType::Regular, b"contents"),
        pax(&[("path", "b")]),
        entry("c", EntryType::Regular, b""),
    ]
    .concat();
    for cut in 0..=bytes.len() {
        assert_eq!(read(&bytes[..cut]), Ok(None), "cut at {cut}");
    }
    assert!(read(&[bytes, end()].concat()).unwrap().is_some());
    assert_eq!(read(&end()[..BLOCK]), Ok(Some(Vec::new())));
}

#[test]
fn hostile_paths_are_refused() {
    for name in ["../a", "/etc/passwd", "a/../../b", "..", "", ".", "./", "/"] {
        let bytes = [entry(name, EntryType::Regular, b"x"), end()].concat();
        assert!(matches!(read(&bytes), Err(Refused::Odd(_))), "{name:?}");
        let bytes = [pax(&[("path", name)]), entry("a", EntryType::Regular, b"x"), end()].concat();
        assert!(matches!(read(&bytes), Err(Refused::Odd(_))), "{name:?} as an extended field");
        let long = [name.as_bytes(), b"\0"].concat();
        let bytes =
            [entry("l", EntryType::GNULongName, &long), entry("a", EntryType::Regular, b"x"), end()].concat();
        assert!(matches!(read(&bytes), Err(Refused::Odd(_))), "{name:?} as a long name");
    }
    let bytes = [pax(&[("path", "a\0b")]), entry("a", EntryType::Regular, b"x"), end()].concat();
    assert!(matches!(read(&bytes), Err(Refused::Odd(_))));
    // A link may say what it likes: nobody follows it. Another name of a file is followed.
    let bytes = [link("a", EntryType::Symlink, "/etc/shadow"), end()].concat();
    assert_eq!(read(&bytes), Ok(Some(vec![file("a", FileKind::Link("/etc/shadow".into()))])));
    for to in ["/etc/shadow", "../x", "later", "a"] {
        let bytes =
            [link("a", EntryType::Link, to), entry("later", EntryType::Regular, b"x"), end()].concat();
        assert!(matches!(read(&bytes), Err(Refused::Odd(_))), "{to}");
    }
    // A path that only looks odd is a path.
    let bytes = [entry("./a/./...", EntryType::Regular, b"x"), end()].concat();
    assert_eq!(read(&bytes), Ok(Some(vec![text("a/...", "x")])));
}

#[test]
fn claims_cost_nothing() {
    // 8 EiB, of which nothing comes.
    for size in [1 << 20, 1 << 40, u64::MAX] {
        let bytes = raw(b"a", header(EntryType::Regular, size));
        assert_eq!(read(&bytes), Err(Refused::TooLarge), "{size}");
        let extended = [pax(&[("size", &size.to_string())]), entry("a", EntryType::Regular, b"")].concat();
        assert_eq!(read(&extended), Err(Refused::TooLarge), "{size} as an extended field");
        for kind in
            [EntryType::XHeader, EntryType::XGlobalHeader, EntryType::GNULongName, EntryType::GNULongLink]
        {
            let bytes = raw(b"a", header(kind, size.max(MAX_EXTENSION + 1)));
            assert!(matches!(read(&bytes), Err(Refused::Odd(_))), "{kind:?}");
        }
        // Kinds without data have none.
        for kind in
            [EntryType::Directory, EntryType::Symlink, EntryType::Char, EntryType::Block, EntryType::Fifo]
        {
            let bytes = [raw(b"a", header(kind, size)), end()].concat();
            assert_eq!(read(&bytes).unwrap().map(|files| files.len()), Some(1), "{kind:?}");
        }
        // Of an unknown kind, they are waited for and not kept.
        let bytes = [raw(b"a", header(EntryType::new(b'Q'), size)), vec![1; 10_000]].concat();
        assert_eq!(read(&bytes), Ok(None));
    }
}

#[test]
fn contents_are_counted() {
    let two = [entry("a", EntryType::Regular, &[1; 600]), entry("b", EntryType::Regular, &[2; 400]), end()]
        .concat();
    assert_eq!(read(&two).unwrap().unwrap().len(), 2);
    assert_eq!(read_in(4096, &two, 999), Err(Refused::TooLarge));
    // Names of one file count each.
    let bomb: Vec<u8> = (0..10).flat_map(|n| link(&format!("l{n}"), EntryType::Link, "a")).collect();
    let bytes = [entry("a", EntryType::Regular, &[1; 100]), bomb, end()].concat();
    assert_eq!(read(&bytes), Err(Refused::TooLarge));
    assert_eq!(read_in(4096, &bytes, 1100).unwrap().unwrap().len(), 11);
    // So do empty files and names.
    let mut untar = Untar::new(0);
    let one = entry("a", EntryType::Regular, b"");
    for _ in 0..MAX_ENTRIES {
        untar.feed(&one).unwrap();
    }
    assert_eq!(untar.feed(&one), Err(Refused::TooMany));
    let name = "n".repeat(60_000);
    let long = [pax(&[("path", &name)]), one].concat();
    let mut untar = Untar::new(0);
    let fed = (0..MAX_ENTRIES).map(|_| untar.feed(&long)).find(Result::is_err);
    assert_eq!(fed, Some(Err(Refused::TooMany)));
}

#[test]
fn holes_and_broken_headers_are_refused() {
    let sparse = [entry("a", EntryType::GNUSparse, b"x"), end()].concat();
    let new_sparse =
        [pax(&[("GNU.sparse.major", "1")]), entry("a", EntryType::Regular, b"x"), end()].concat();
    let mut wrong_sum = entry("a", EntryType::Regular, b"x");
    wrong_sum[0] = b'b';
    let broken = |at: std::ops::Range<usize>| {
        let mut header = header(EntryType::Regular, 0);
        header.as_mut_bytes()[at].fill(b'z');
        raw(b"a", header)
    };
    let bad_fields =
        [entry("p", EntryType::XHeader, b"nonsense"), entry("a", EntryType::Regular, b"x")].concat();
    for (what, bytes) in [
        ("holes", sparse),
        ("newer holes", new_sparse),
        ("a wrong sum", wrong_sum),
        ("mode", broken(100..108)),
        ("uid", broken(108..116)),
        ("gid", broken(116..124)),
        ("size", broken(124..136)),
        ("fields", bad_fields),
        ("noise", vec![0xff; BLOCK]),
        ("text", vec![b'<'; BLOCK]),
    ] {
        assert!(matches!(read(&bytes), Err(Refused::Odd(_))), "{what}");
    }
}

/// Whatever comes, it ends without a panic and with no more in memory than came.
#[test]
fn noise_breaks_nothing() {
    let mut builder = Builder::new(Vec::new());
    for n in 0..6_u8 {
        let name = format!("{}/{n}", "d".repeat(30 * usize::from(n)));
        builder
            .append_data(&mut header(EntryType::Regular, 10), name.trim_start_matches('/'), &[n; 10][..])
            .unwrap();
    }
    let good = builder.into_inner().unwrap();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..2000 {
        let mut bytes = good.clone();
        for _ in 0..=random() % 4 {
            let at = usize::try_from(random()).unwrap() % bytes.len();
            bytes[at] = (random() & 0xff) as u8;
            // With a right sum, so that more than the sum is tried.
            let block = at / BLOCK * BLOCK;
            let sum = format!("{:06o}\0 ", checksum(&bytes[block..block + BLOCK]));
            if random() % 2 == 0 {
                bytes[block + 148..block + 156].copy_from_slice(sum.as_bytes());
            }
        }
        if let Ok(Some(files)) = read_in(1000, &bytes, 1000) {
            assert!(files.iter().all(|file| file.path.is_relative()));
        }
    }
}
