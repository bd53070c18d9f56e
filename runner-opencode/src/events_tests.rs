use proptest::prelude::*;
use proptest::sample::Index;
use runner_core::ErrorKind;

use super::*;
use crate::frames::Limits;
use crate::recordings::{change, input, split, streams};

/// All events of a stream, the first one included.
fn events(pieces: &[&[u8]], max_frame: usize) -> Vec<Result<AgentEvent, Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let limits = Limits { max_frame, silence: Duration::from_secs(30) };
        let mut frames = Frames::new(input(pieces, None), limits);
        match connected(&mut frames).await {
            Ok(()) => stream(frames, Vec::new(), "/workspace".to_owned()).collect().await,
            Err(failure) => vec![Err(failure.into_error(READ))],
        }
    })
}

proptest! {
    #[test]
    fn any_split_of_any_recording_gives_the_same_events(
        which in any::<Index>(),
        at in prop::collection::vec(any::<Index>(), 0..40),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        mark in any::<bool>(),
        comment in prop::sample::select(vec!["", ": still here\n\n", ":\n", "event: message\nid: 7\n"]),
        lines in any::<bool>(),
    ) {
        let (name, recorded) = which.get(streams());
        let mut text = recorded.replace("data: {", &format!("{comment}data: {{"));
        if lines {
            text = text.replace(",\"payload\":{", "\ndata: ,\ndata:\"payload\":{");
        }
        text = text.replace('\n', end);
        if mark {
            text.insert(0, '\u{feff}');
        }
        let read = |pieces: &[&[u8]]| -> Vec<AgentEvent> {
            events(pieces, usize::MAX).into_iter().map(|event| event.expect("no error")).collect()
        };
        prop_assert_eq!(read(&split(text.as_bytes(), &at)), read(&[recorded.as_bytes()]), "{}", name);
    }

    #[test]
    fn a_broken_recording_is_events_and_at_most_one_typed_error(
        which in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), 0..3_usize, any::<u8>()), 0..20),
        at in prop::collection::vec(any::<Index>(), 0..10),
        max_frame in prop::sample::select(vec![200, 2000, usize::MAX]),
    ) {
        let mut bytes = which.get(streams()).1.clone().into_bytes();
        for (at, how, byte) in changes {
            change(&mut bytes, at, how, byte);
        }
        let read = events(&split(&bytes, &at), max_frame);
        let errors: Vec<_> = read.iter().filter_map(|event| event.as_ref().err()).collect();
        for error in &errors {
            prop_assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Connection), "{:?}", error);
        }
        prop_assert!(errors.is_empty() || (errors.len() == 1 && read.last().is_some_and(Result::is_err)));
        let whole = events(&[&bytes], max_frame);
        prop_assert_eq!(format!("{read:?}"), format!("{whole:?}"), "a split makes no difference");
    }
}
