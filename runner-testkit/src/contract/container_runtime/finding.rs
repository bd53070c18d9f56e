//! Names, ids and labels.

use std::path::PathBuf;

use runner_core::container::{Mount, MountSource};
use runner_core::logs::LogOptions;

use runner_core::{ContainerId, ContainerSpec, ErrorKind};

use super::Lab;
use crate::contract::support::{fails, ok};

impl Lab {
    pub(super) async fn names_are_unique(&self) {
        let spec = self.spec(&self.fixture.stays, "named");
        let (one, other) = tokio::join!(self.runtime.create(&spec), self.runtime.create(&spec));
        let (made, refused) = if one.is_ok() { (one, other) } else { (other, one) };
        let id = ok("one of two creates with the same name", made);
        fails("the other one", refused, ErrorKind::AlreadyExists);
        fails("create with a name that is taken", self.runtime.create(&spec).await, ErrorKind::AlreadyExists);
        let info = ok("inspect", self.runtime.inspect(&id).await);
        assert_eq!(info.name, spec.name, "inspect must give the name as it was asked for");
        assert_eq!(info.id, id, "inspect must give the id that create gave");
        assert_eq!(self.count().await, 1, "a create that failed must leave nothing");
        self.remove(&id).await;
    }

    pub(super) async fn the_unknown_is_not_found(&self) {
        let id = ok("an id", ContainerId::new("f".repeat(64)));
        fails("inspect of an unknown container", self.runtime.inspect(&id).await, ErrorKind::NotFound);
        fails("start of an unknown container", self.runtime.start(&id).await, ErrorKind::NotFound);
        let wait = self.soon("wait for an unknown container", self.runtime.wait(&id)).await;
        fails("wait for an unknown container", wait, ErrorKind::NotFound);
        let logs = self.runtime.logs(&id, LogOptions::default()).await;
        fails("logs of an unknown container", logs, ErrorKind::NotFound);
        ok("stop of an unknown container", self.stop(&id).await);
        ok("remove of an unknown container", self.runtime.remove(&id).await);
    }

    pub(super) async fn lists_are_exact(&self) {
        let mut ids = Vec::new();
        // The second value begins with the first: an engine's filter must not be trusted with prefixes.
        for (name, value) in [("one", "1"), ("eleven", "11")] {
            let mut spec = self.spec(&self.fixture.stays, name);
            spec.labels.insert("runner-testkit.value".to_owned(), value.to_owned());
            ids.push(ok("create", self.runtime.create(&spec).await));
        }
        let with = |value: &str| {
            let mut labels = self.labels();
            labels.insert("runner-testkit.value".to_owned(), value.to_owned());
            labels
        };
        for (id, value) in ids.iter().zip(["1", "11"]) {
            let labels = with(value);
            let listed = ok("list", self.runtime.list(&labels).await);
            let found: Vec<&ContainerId> = listed.iter().map(|info| &info.id).collect();
            assert_eq!(found, [id], "a list must have exactly the containers with all labels {labels:?}");
            assert!(
                listed.iter().all(|info| labels.iter().all(|(k, v)| info.labels.get(k) == Some(v))),
                "a list must give the labels it was asked for: {listed:?}"
            );
        }
        assert_eq!(self.count().await, 2, "a list must have containers that do not run too");
        let none = ok("list", self.runtime.list(&with("2")).await);
        assert!(none.is_empty(), "a list for a value that nobody has must be empty: {none:?}");
        for id in &ids {
            self.remove(id).await;
        }
    }

    pub(super) async fn illegal_specs_create_nothing(&self) {
        type Break = fn(&mut ContainerSpec);
        let cases: [(&str, Break); 4] = [
            ("root as its user", |spec| spec.user.uid = 0),
            ("a name with a slash", |spec| spec.name.push_str("/x")),
            ("port 0", |spec| spec.ports.push(0)),
            ("a mount over everything", |spec| {
                let source = MountSource::HostPath(PathBuf::from("/srv"));
                spec.mounts.push(Mount { source, target: PathBuf::from("/"), read_only: false });
            }),
        ];
        for (what, break_it) in cases {
            let mut spec = self.spec(&self.fixture.stays, "illegal");
            break_it(&mut spec);
            let created = self.runtime.create(&spec).await;
            fails(&format!("create with {what}"), created, ErrorKind::InvalidInput);
        }
        assert_eq!(self.count().await, 0, "a spec that was refused must create nothing");
    }
}
