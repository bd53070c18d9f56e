//! Whether the engine sees the files that we see.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use runner_core::ErrorKind;
use serde_json::json;

use crate::support::{Fake, Reply, fail, ok};
use crate::{CREATE, INSPECT, body, created, inspected, temporary, unexpected, willing};

const LIST: &str = "GET /containers/json";

/// An engine that sees the file, or does not. Returns the names of files that lay in the directory at the look.
fn looking(directory: &Path, creation: Reply, status: u16) -> (Fake, Arc<Mutex<Vec<String>>>) {
    let found = Arc::new(Mutex::new(Vec::new()));
    let (seen, directory) = (Arc::clone(&found), directory.to_owned());
    let fake = Fake::engine(move |call| match call.what.as_str() {
        CREATE => creation.clone(),
        "HEAD /containers/abc/archive" => {
            let names = std::fs::read_dir(&directory).unwrap();
            seen.lock().unwrap().extend(names.map(|n| n.unwrap().file_name().into_string().unwrap()));
            Reply::Json(status, String::new())
        }
        INSPECT => inspected("created", &json!({})),
        LIST => ok("[]"),
        what if what.starts_with("DELETE /containers/cnap-visible-") => Reply::Json(204, String::new()),
        _ => unexpected(call),
    });
    (fake, found)
}

fn removals(fake: &Fake) -> usize {
    fake.all().iter().filter(|call| call.what.starts_with("DELETE /containers/cnap-visible-")).count()
}

#[tokio::test]
async fn files_that_the_engine_does_not_see_are_an_error_with_a_way_out() {
    let image = "img:1".parse().unwrap();
    let missing = fail(400, "invalid mount config for type \"bind\": bind source path does not exist: /x");
    let no_image = fail(404, "No such image: img:1");
    for (creation, status, want) in [
        (created(), 200, None),
        (created(), 404, Some(ErrorKind::Workspace)),
        (missing, 0, Some(ErrorKind::Workspace)),
        (no_image, 0, Some(ErrorKind::ImageUnavailable)),
        (created(), 500, Some(ErrorKind::Engine)),
    ] {
        let (_dir, root) = temporary();
        let (fake, found) = looking(&root, creation, status);
        let result = fake.connect().await.check_visible(&root, &image).await;
        assert_eq!(result.as_ref().err().map(runner_core::Error::kind), want, "{result:?}");
        if want == Some(ErrorKind::Workspace) {
            let error = result.unwrap_err();
            assert!(error.message().contains(root.to_str().unwrap()), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("path_map")), "{error}");
        }
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "the file is deleted");
        assert_eq!(removals(&fake), 1, "the container is removed");
        if status != 0 {
            let found = found.lock().unwrap();
            let query = fake.calls("HEAD /containers/abc/archive")[0].query.clone();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(query, format!("path=/cnap-visible/{}", found[0]));
            let host = &body(&fake)["HostConfig"];
            assert_eq!(host["Mounts"][0]["ReadOnly"], true);
            assert_eq!(host["NetworkMode"], "none");
        }
    }
}

#[tokio::test]
async fn a_look_that_nobody_waits_for_leaves_nothing_behind() {
    let (_dir, root) = temporary();
    let (fake, _) = looking(&root, Reply::Silence, 0);
    let runtime = Arc::new(fake.connect().await);
    let image = "img:1".parse().unwrap();
    let (theirs, directory) = (Arc::clone(&runtime), root.clone());
    let look = tokio::spawn(async move { theirs.check_visible(&directory, &image).await });
    fake.saw(CREATE).await;
    look.abort();
    let emptied = async {
        while removals(&fake) == 0 || std::fs::read_dir(&root).unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), emptied).await.expect("something stays behind");
}

/// A process that is killed in the middle leaves a container and a file, which the next look removes; one that is at
/// it right now keeps its own.
#[tokio::test]
async fn what_a_killed_process_left_is_removed_by_the_next_look() {
    let (_dir, root) = temporary();
    let now = SystemTime::now();
    let old = now - Duration::from_hours(2);
    for (name, when) in [(".cnap-visible-old", old), (".cnap-visible-new", now), ("cnap-visible-mine", old)] {
        let file = std::fs::File::create(root.join(name)).unwrap();
        file.set_modified(when).unwrap();
    }
    let listed = |id: &str, when: SystemTime| {
        let seconds = when.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        json!({"Id": id, "State": "running", "Created": seconds, "Labels": {"cnap.runner.visible": "look"}})
    };
    let mut foreign = listed("foreign", old);
    foreign["Labels"] = json!({});
    let list = json!([listed("old", old), listed("new", now), foreign]).to_string();
    let fake = Fake::engine(move |call| match call.what.as_str() {
        LIST => ok(list.clone()),
        CREATE => created(),
        "HEAD /containers/abc/archive" => ok(""),
        what if what.starts_with("DELETE /containers/") => Reply::Json(204, String::new()),
        _ => unexpected(call),
    });
    fake.connect().await.check_visible(&root, &"img:1".parse().unwrap()).await.unwrap();
    let mut left: Vec<_> = std::fs::read_dir(&root).unwrap().map(|f| f.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".cnap-visible-new", "cnap-visible-mine"]);
    assert_eq!(fake.count("DELETE /containers/old"), 1);
    assert_eq!(fake.count("DELETE /containers/new") + fake.count("DELETE /containers/foreign"), 0);
    assert_eq!(removals(&fake), 1, "and its own");
}

#[tokio::test]
async fn a_forbidden_directory_is_not_even_looked_at() {
    let fake = willing();
    let runtime = fake.connect().await;
    let asked = fake.all().len();
    let error = runtime.check_visible(Path::new("/etc"), &"img:1".parse().unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), fake.all().len()), (ErrorKind::InvalidInput, asked), "{error}");
    assert!(
        std::fs::read_dir("/etc").unwrap().all(|f| !f
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("cnap"))
    );
}
