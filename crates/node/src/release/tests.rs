//! Build and install on a real file system; Python environments have a test of their own in `tests/`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use mainstay_site::model::{App, AppKind};
use mainstay_site::names::{AppName, ReleaseId};

use super::*;

fn php(name: &str) -> App {
    App {
        name: AppName::from(name),
        path: ".".into(),
        kind: AppKind::Php { entry: "index.php".into() },
        workers: 1,
        shared: vec!["uploads".into()],
        settings: BTreeMap::new(),
        migrate: None,
        host: None,
        prefix: "/".into(),
        statics: BTreeMap::new(),
        health: "/".into(),
    }
}

/// A codebase and a machine: `source`, `builds`, `state`.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Scene {
        let scene = Scene(tempfile::tempdir().unwrap());
        fs::set_permissions(scene.0.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::create_dir_all(scene.at("source/uploads")).unwrap();
        fs::write(scene.at("source/index.php"), "<?php echo 1;").unwrap();
        fs::write(scene.at("source/uploads/first.txt"), "first").unwrap();
        scene
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    fn build(&self, name: &str) -> Result<Release, Error> {
        build(&php(name), &self.at("source"), &self.at("builds"), &mut |_| {})
    }

    fn install(&self, release: &Release) -> std::path::PathBuf {
        install(release, &self.at("state"), &["uploads".into()], None).unwrap()
    }
}

#[test]
fn a_release_is_a_copy_that_everyone_may_read() {
    let scene = Scene::new();
    fs::set_permissions(scene.at("source/index.php"), fs::Permissions::from_mode(0o600)).unwrap();
    let release = scene.build("site").unwrap();
    assert_eq!(release.id, identify(&scene.at("source")).unwrap());
    assert_eq!(release.folder.file_name().unwrap().to_str().unwrap(), format!("site-{}", release.id));
    assert_eq!(release.code().join("index.php").metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(release.venv(), None);
    fs::write(scene.at("source/index.php"), "<?php echo 2;").unwrap();
    assert_eq!(fs::read_to_string(release.code().join("index.php")).unwrap(), "<?php echo 1;");
}

#[test]
fn a_second_build_of_the_same_contents_does_nothing() {
    let scene = Scene::new();
    let first = scene.build("site").unwrap();
    let inode = first.code().metadata().unwrap().ino();
    let second = scene.build("site").unwrap();
    assert_eq!((second.code().metadata().unwrap().ino(), &second), (inode, &first));
}

#[test]
fn a_failed_build_leaves_nothing() {
    let scene = Scene::new();
    std::os::unix::fs::symlink("/etc/passwd", scene.at("source/leak")).unwrap();
    assert!(matches!(scene.build("site"), Err(Error::LinkOutside { .. })));
    assert!(!scene.at("builds").exists());
}

#[test]
fn shared_folders_are_seeded_once_and_survive_releases() {
    let scene = Scene::new();
    let first = scene.install(&scene.build("site").unwrap());
    assert_eq!(fs::read_to_string(first.join("code/uploads/first.txt")).unwrap(), "first");
    fs::write(first.join("code/uploads/second.txt"), "second").unwrap();
    fs::write(scene.at("source/index.php"), "<?php echo 2;").unwrap();
    fs::write(scene.at("source/uploads/first.txt"), "of the next release").unwrap();
    let second = scene.install(&scene.build("site").unwrap());
    assert_ne!(first, second);
    assert_eq!(fs::read_to_string(second.join("code/uploads/second.txt")).unwrap(), "second");
    assert_eq!(fs::read_to_string(second.join("code/uploads/first.txt")).unwrap(), "first");
    fs::remove_dir_all(scene.at("state/shared")).unwrap();
    scene.install(&scene.build("site").unwrap());
    let seeded = fs::read_to_string(second.join("code/uploads/first.txt")).unwrap();
    assert_eq!(seeded, "of the next release", "what somebody removed is made again");
    assert!(!scene.build("site").unwrap().code().join("uploads").is_symlink(), "the build itself stays as it was");
}

#[test]
fn the_last_releases_are_kept_and_those_in_use_and_other_applications_left_alone() {
    let scene = Scene::new();
    let other = scene.install(&scene.build("site-api").unwrap());
    let mut installed = Vec::new();
    let mut runs = None;
    for number in 0..8 {
        fs::write(scene.at("source/index.php"), format!("<?php echo {number};")).unwrap();
        let release = scene.build("site").unwrap();
        installed.push(scene.install(&release));
        // What came behind it did not work.
        let runs = runs.get_or_insert(release);
        for folder in ["builds", "state/releases"] {
            note_use(&scene.at(folder), &runs.app, &runs.id).unwrap();
        }
    }
    let there: Vec<bool> = installed.iter().map(|folder| folder.exists()).collect();
    assert_eq!(there, [true, false, false, false, true, true, true, true]);
    assert!(runs.unwrap().code().is_dir());
    assert!(other.exists());
    let built = |app: &str| {
        let folders = fs::read_dir(scene.at("builds")).unwrap().flatten();
        folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(app)).count()
    };
    assert_eq!((built("site-api-"), built("site-")), (1, RELEASES_KEPT + 1), "those of `site`, one of `site-api`");
}

#[test]
fn a_state_directory_that_the_user_may_not_enter_is_named() {
    let scene = Scene::new();
    let release = scene.build("site").unwrap();
    fs::set_permissions(scene.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let nobody = 59_804;
    match install(&release, &scene.at("state"), &[], Some(nobody)) {
        Err(Error::Closed { folder, user }) => assert_eq!((folder.as_path(), user), (scene.0.path(), nobody)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_edit_during_the_copy_is_noticed() {
    let scene = Scene::new();
    let source = scene.at("source/index.php");
    let mut edit = |_: &str| fs::write(&source, "<?php echo 'edited';").unwrap();
    let built = build(&php("site"), &scene.at("source"), &scene.at("builds"), &mut edit);
    assert!(matches!(built, Err(Error::Changed(_))));
    assert_eq!(fs::read_dir(scene.at("builds")).unwrap().count(), 0);
}

#[test]
fn folder_names_tell_applications_apart() {
    let id = ReleaseId::from("0123456789ab");
    assert_eq!(Release::folder_name(&AppName::from("site"), &id), "site-0123456789ab");
    assert!(Path::new(&Release::folder_name(&AppName::from("site"), &id)).is_relative());
}
