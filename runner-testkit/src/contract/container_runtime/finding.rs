//! Names, ids and labels.

use std::path::{Path, PathBuf};

use runner_core::container::{Mount, MountSource, StopOutcome, StopReason};
use runner_core::container_runtime::Feature;
use runner_core::logs::LogOptions;
use runner_core::resources::ResourceUpdate;
use runner_core::{ContainerId, ContainerSpec, ErrorKind};

use super::Lab;
use crate::contract::support::{fails, ok};

impl Lab {
    pub(super) async fn names_are_unique(&self) {
        let spec = self.spec(&self.fixture.stays, "named");
        let (one, other) = tokio::join!(self.runtime.create(&spec), self.runtime.create(&spec));
        let (made, refused) = if one.is_ok() { (one, other) } else { (other, one) };
        let id = ok("one of two creates with the same name", made);
        let again = self.runtime.create(&spec).await;
        for (what, refused) in [("the other one", refused), ("create with a name that is taken", again)] {
            let error = fails(what, refused, ErrorKind::AlreadyExists);
            assert_eq!(error.container(), Some(&id), "{what} must fail with the id of the name's holder");
        }
        let info = ok("inspect", self.runtime.inspect(&id).await);
        assert_eq!(info.name, spec.name, "inspect must give the name as it was asked for");
        assert_eq!(info.id, id, "inspect must give the id that create gave");
        assert!(info.created_at.is_some(), "inspect must say when it was created");
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
        if self.can(Feature::Update).await {
            let update = ResourceUpdate { pids: Some(100), ..ResourceUpdate::default() };
            let updated = self.runtime.update(&id, &update).await;
            fails("update of an unknown container", updated, ErrorKind::NotFound);
        }
        if self.can(Feature::Pause).await {
            fails("pause of an unknown container", self.runtime.pause(&id).await, ErrorKind::NotFound);
            fails("unpause of an unknown container", self.runtime.unpause(&id).await, ErrorKind::NotFound);
        }
        if self.can(Feature::Stats).await {
            fails("stats of an unknown container", self.runtime.stats(&id).await, ErrorKind::NotFound);
        }
        if self.can(Feature::Copy).await {
            let copied = self.runtime.copy_out(&id, Path::new("/etc"), 1).await;
            fails("copy out of an unknown container", copied, ErrorKind::NotFound);
        }
        let stopped = ok("stop of an unknown container", self.stop(&id, StopReason::Requested).await);
        assert_eq!(stopped, StopOutcome::Gone, "stop must say that there is no such container");
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
