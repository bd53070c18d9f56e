//! Ids as they come in with each event, and hardly ever new ones.

use std::sync::Arc;

use runner_core::{MessageId, SessionId};

/// How many of each kind are remembered: a session and its sub-agent's, a prompt and the answer that grows.
const REMEMBERED: usize = 2;

/// The ids that the last events had. An id that comes again is checked and copied once.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    sessions: Recent<SessionId>,
    messages: Recent<MessageId>,
    parts: Recent<Arc<str>>,
}

impl Ids {
    /// `None` where the text cannot be an id.
    pub(crate) fn session(&mut self, id: &str) -> Option<SessionId> {
        self.sessions.get(id, |id| SessionId::new(id).ok())
    }

    pub(crate) fn message(&mut self, id: &str) -> Option<MessageId> {
        self.messages.get(id, |id| MessageId::new(id).ok())
    }

    /// A part's id is only compared, so that any text will do.
    pub(crate) fn part(&mut self, id: &str) -> Arc<str> {
        self.parts.get(id, |id| Some(id.into())).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Recent<T> {
    known: [Option<T>; REMEMBERED],
    oldest: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { known: [const { None }; REMEMBERED], oldest: 0 }
    }
}

impl<T: AsRef<str> + Clone> Recent<T> {
    fn get(&mut self, id: &str, make: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        if let Some(known) = self.known.iter().flatten().find(|known| known.as_ref() == id) {
            return Some(known.clone());
        }
        let new = make(id)?;
        if let Some(place) = self.known.get_mut(self.oldest) {
            *place = Some(new.clone());
        }
        self.oldest = (self.oldest + 1) % REMEMBERED;
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_it_was_asked_for_and_bad_ones_are_none() {
        let mut ids = Ids::default();
        for id in ["ses_1", "ses_2", "ses_1", "ses_3", "ses_2", "ses_1", "../x", "ses_1", ""] {
            let expected = SessionId::new(id).ok();
            assert_eq!(ids.session(id), expected);
            assert_eq!(ids.message(id).map(|id| id.to_string()), expected.map(|id| id.to_string()));
        }
    }
}
