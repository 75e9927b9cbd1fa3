//! A real site that we did not write.

use std::path::PathBuf;
use std::process::Command;

use crate::lab::{Lab, design, root, said};

/// WordPress' folder, fetched.
fn example() -> PathBuf {
    let example = root().join("examples/wordpress");
    let fetched = Command::new(example.join("fetch")).output().unwrap();
    assert!(fetched.status.success(), "{}", said(&fetched));
    example
}

/// Its own web installer, log-in and publication; then a stranger reads what was published. What was said.
fn installed_and_read_back(lab: &Lab, words: &[&str]) -> String {
    let address = format!("http://{}", lab.www());
    let posted = Command::new(example().join("install-and-post"))
        .args([&address, "--connect", &lab.http().to_string()])
        .args(words)
        .output()
        .unwrap();
    assert!(posted.status.success(), "{}", said(&posted));
    said(&posted)
}

#[test]
fn wordpress_is_installed_and_a_post_with_an_image_is_read_back() {
    let example = example();
    let declaration = std::fs::read_to_string(example.join("site.toml")).unwrap();
    let codebase = format!("\"{}\"", example.join("codebase").display());
    let lab = Lab::start(&declaration.replace("\"codebase\"", &codebase), "wordpress.test");
    let told = installed_and_read_back(&lab, &[]);
    assert!(told.contains("read both back"), "{told}");
}

/// Through the floating address. Images have to wait for files that all servers share, which `check` says.
#[test]
fn wordpress_on_the_scaled_up_design_is_installed_and_posts_are_read_back() {
    let design = design("3-scale-up");
    let (before, after) = (design.find("[app]").unwrap(), design.find("[balancer]").unwrap());
    let app = format!(
        "[app]\npath = \"{}\"\nkind = \"php\"\nentry = \"index.php\"\nworkers = 2\nshared = [\"wp-content/uploads\"]\n\
         settings = {{ WORDPRESS_OFFLINE = \"1\" }}\n\n",
        example().join("codebase").display()
    );
    let lab = Lab::start(&format!("{}{app}{}", &design[..before], &design[after..]), "d-wordpress.test");
    let told = installed_and_read_back(&lab, &["--without-image", "--posts", "5"]);
    assert_eq!(told.matches("read it back").count(), 5, "{told}");
}
