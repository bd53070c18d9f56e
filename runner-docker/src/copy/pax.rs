//! Extended fields of a tar entry. No I/O.
//!
//! Read here because the `tar` crate takes a line break within a value for its end, and a file's name may have one.

/// What extended fields say about the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    sparse: bool,
}

impl Pax {
    /// Reads fields such as `17 path=somewhere\n`, each with its own length before it.
    pub(crate) fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let space = bytes.iter().position(|b| *b == b' ')?;
            let length = usize::try_from(number(bytes.get(..space)?)?).ok()?;
            let field = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            bytes = bytes.get(length..)?;
            let equals = field.iter().position(|b| *b == b'=')?;
            let (key, value) = (field.get(..equals)?, field.get(equals + 1..)?);
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.link = Some(value.to_vec()),
                b"size" => pax.size = Some(number(value)?),
                b"uid" => pax.uid = Some(number(value)?),
                b"gid" => pax.gid = Some(number(value)?),
                key if key.starts_with(b"GNU.sparse.") => pax.sparse = true,
                _ => {}
            }
        }
        Some(pax)
    }

    /// Whether the entry's data is not its contents.
    pub(crate) fn is_sparse(&self) -> bool {
        self.sparse
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if all { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_whatever_they_hold() {
        let text = b"9 path=a\n13 comment=x\n16 linkpath=a\nb\n9 size=5\n12 uid=1000\n8 gid=7\n";
        let pax = Pax::read(text).unwrap();
        let want = Pax {
            path: Some(b"a".to_vec()),
            link: Some(b"a\nb".to_vec()),
            size: Some(5),
            uid: Some(1000),
            gid: Some(7),
            sparse: false,
        };
        assert_eq!(pax, want);
        assert!(Pax::read(b"22 GNU.sparse.major=1\n").unwrap().is_sparse());
        assert_eq!(Pax::read(b""), Some(Pax::default()));
    }

    #[test]
    fn what_is_not_fields_is_refused() {
        for text in [
            &b"x"[..],
            b"9 path=a",
            b"8 path=a\n",
            b"11 path=a\n",
            b"0 \n",
            b"1 \n",
            b"2 \n",
            b"99999999999999999999 path=a\n",
            b"18446744073709551615 path=a\n",
            b"-9 path=a\n",
            b"6 path\n",
            b"7 path\n",
            b"11 size=-5\n",
            b"\0\0\0",
        ] {
            assert_eq!(Pax::read(text), None, "{text:?}");
        }
    }
}
