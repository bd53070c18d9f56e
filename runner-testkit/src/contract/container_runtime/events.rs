//! Events: hints that must not lie.

use futures::StreamExt;
use runner_core::container::Labels;
use runner_core::container_runtime::Feature;
use runner_core::runtime_event::{ContainerEvent, ContainerEventKind, RuntimeEvent, RuntimeEventStream};
use runner_core::{ContainerId, ErrorKind, Result};

use super::Lab;
use super::running::A_MOMENT;
use crate::contract::support::{fails, ok};

/// What every engine tells of every container's life. Other events may come between.
fn is_of_its_life(kind: &ContainerEventKind) -> bool {
    use ContainerEventKind::{Created, Died, Removed, Started};
    matches!(kind, Created | Started | Died { .. } | Removed)
}

fn item(item: Option<Result<RuntimeEvent>>) -> RuntimeEvent {
    assert!(item.is_some(), "a stream of events must not end without an error");
    item.map_or(RuntimeEvent::Connected, |item| ok("an event", item))
}

impl Lab {
    pub(super) async fn events_tell_what_happens(&self) {
        let mut labels = self.labels();
        labels.insert("runner-testkit.event".to_owned(), "1".to_owned());
        if !self.can(Feature::Events).await {
            let events = self.runtime.events(&labels).await;
            fails("events of an engine that says it has none", events, ErrorKind::Unsupported);
            return;
        }
        let mut stream = ok("events", self.soon("events", self.runtime.events(&labels)).await);
        let first = item(self.soon("the first event", stream.next()).await);
        assert_eq!(first, RuntimeEvent::Connected, "the first event must say that the subscription stands");

        // The value of the other one begins with ours: an engine's filter must not be trusted with prefixes.
        let others = Labels::from([("runner-testkit.event".to_owned(), "11".to_owned())]);
        self.live_and_die("event-other", &others).await;
        let id = self.live_and_die("event-ours", &labels).await;

        let name = self.spec(&self.fixture.exits, "event-ours").name;
        let told = self.soon("the event of a removal", until_removed(&mut stream)).await;
        for event in &told {
            assert_eq!(event.id, id, "events of other containers must not be told: {event:?}");
            let has_all = labels.iter().all(|(key, value)| event.labels.get(key) == Some(value));
            assert!(has_all, "an event must have the labels it was asked for: {event:?}");
            assert!(event.name.is_empty() || event.name == name, "an event has another name: {event:?}");
        }
        let mut life: Vec<&ContainerEventKind> = told.iter().map(|event| &event.kind).collect();
        life.retain(|kind| is_of_its_life(kind));
        let in_order = matches!(
            life.as_slice(),
            [
                ContainerEventKind::Created,
                ContainerEventKind::Started,
                ContainerEventKind::Died { code: None | Some(7) },
                ContainerEventKind::Removed,
            ]
        );
        assert!(in_order, "each step of a life must be told once, in order: {life:?}");
        if let Ok(late) = tokio::time::timeout(A_MOMENT, until_removed(&mut stream)).await {
            assert!(late.is_empty(), "nothing must be told twice: {late:?}");
        }
    }

    /// A whole life of a container with these labels.
    async fn live_and_die(&self, name: &str, labels: &Labels) -> ContainerId {
        let mut spec = self.spec(&self.fixture.exits, name);
        spec.labels.extend(labels.clone());
        let id = ok("create", self.runtime.create(&spec).await);
        self.start(&id).await;
        ok("wait", self.soon("exit", self.runtime.wait(&id)).await);
        self.remove(&id).await;
        id
    }
}

/// What is told of containers up to the removal of one.
async fn until_removed(stream: &mut RuntimeEventStream) -> Vec<ContainerEvent> {
    let mut told = Vec::new();
    loop {
        // A lost connection is no broken promise, as long as everything is told in the end.
        if let RuntimeEvent::Container(event) = item(stream.next().await) {
            let is_last = event.kind == ContainerEventKind::Removed;
            told.push(event);
            if is_last {
                return told;
            }
        }
    }
}
