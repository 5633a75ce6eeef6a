//! The example of the README, run. The doc test only compiles it; here it is the same text, and it works.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

// The README's example begins here.
use persist::{BindOptions, OpenMode, OpenOptions};
use std::fs;

async fn upgrade(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    // All the configuration there is: url is `local:///srv/volumes#shop`.
    let open = OpenOptions::default().with_mode(OpenMode::CreateIfMissing);
    let shop = persist::bind_with(url, open, BindOptions::default()).await?;
    fs::write(shop.path().join("orders"), "3 apples")?;
    shop.sync().await?; // kept now, whatever happens to this process or to the power

    shop.snapshot("before-upgrade").await?;
    fs::remove_file(shop.path().join("orders"))?; // an accident
    let shop = shop.restore("before-upgrade").await?;
    assert_eq!(fs::read_to_string(shop.path().join("orders"))?, "3 apples");

    shop.detach().await?; // or be killed: the next process finds the volume free
    Ok(())
}
// The README's example ends here.

#[tokio::test]
async fn the_example_of_the_readme_works_and_may_be_repeated() {
    let place = tempfile::tempdir().unwrap();
    let store = persist::StoreUrl::local(&place.path().join("volumes")).unwrap();
    let url = format!("{store}#shop");
    upgrade(&url).await.unwrap();
    upgrade(&url).await.unwrap();
}

#[test]
fn the_readme_shows_what_is_run_here() {
    let here = include_str!("readme.rs");
    let begin = here.find("begins here.\n").unwrap() + "begins here.\n".len();
    let end = here.find("// The README's example ends").unwrap();
    assert!(include_str!("../../README.md").contains(&here[begin..end]), "README.md shows another example");
}
