//! The page for new users, word for word: all commands of `docs/getting-started.md` in one shell.

use kit::Project;
use std::path::Path;

/// The commands: every block that is marked `sh`.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split_once("```").map(|(block, _)| block));
    blocks.collect()
}

#[tokio::test]
async fn commands_of_the_page_lead_to_a_sync() {
    let server = kit::postgres().await;
    let (crm, reports) = (
        server.database("started").await,
        server.database("reports").await,
    );
    kit::load_chinook(&crm).await;
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/getting-started.md");
    let commands = commands(&std::fs::read_to_string(page).unwrap());
    assert!(commands.lines().count() >= 7, "{commands}");
    let folder = Project::empty();
    let program = folder.path().join("bin");
    std::fs::create_dir(&program).unwrap();
    std::os::unix::fs::symlink(kit::binary(), program.join("syncset")).unwrap();

    let output = tokio::process::Command::new("sh")
        .args(["-euc", &commands])
        .current_dir(folder.path())
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .env("CRM_URL", crm.url())
        .env("REPORTS_URL", reports.url())
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();

    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for table in kit::CHINOOK_TABLES {
        let count = format!("SELECT count(*) FROM {}", table.postgres);
        assert_eq!(
            reports.value(&count).await,
            table.row_count.to_string(),
            "{count}"
        );
    }
}
