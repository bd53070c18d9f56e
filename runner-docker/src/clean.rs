//! Texts of an engine or a registry, made fit for an error or a log.

/// Longest message taken over from an engine, in characters.
const MAX_MESSAGE: usize = 1000;

/// A foreign text as one bounded line, without the query strings of URLs, where registries put signatures.
pub(crate) fn clean(message: &str) -> String {
    let mut text = String::new();
    let mut in_query = false;
    for (count, c) in message.trim().chars().enumerate() {
        if count >= MAX_MESSAGE {
            text.push('…');
            break;
        }
        let ends_url = c.is_whitespace() || matches!(c, '"' | '\'' | '>' | ')');
        in_query = in_query && !ends_url;
        if in_query {
            continue;
        }
        text.push(if c.is_control() { ' ' } else { c });
        let word = text.rsplit(|c: char| c.is_whitespace() || c == '"').next().unwrap_or_default();
        if c == '?' && word.contains("://") {
            text.push('…');
            in_query = true;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_become_one_bounded_line_without_signatures() {
        for (text, want) in [
            (" a\nb\u{7}c ", "a b c"),
            ("Get \"https://r/b?X-Sig=secret&t=1\": EOF", "Get \"https://r/b?…\": EOF"),
            ("see https://r/b?token=secret now", "see https://r/b?… now"),
            ("really? yes", "really? yes"),
        ] {
            assert_eq!(clean(text), want);
        }
        assert_eq!(clean(&"é".repeat(5000)).chars().count(), MAX_MESSAGE + 1);
    }
}
