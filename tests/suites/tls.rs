//! Encrypted links: each `sslmode`, and what is said when one cannot be made.

use kit::{Certificates, Database, Output, PostgresServer, Project};

struct Lab {
    certificates: Certificates,
    server: PostgresServer,
    database: Database,
}

impl Lab {
    async fn new() -> Self {
        let certificates = Certificates::make();
        let server = PostgresServer::start_own(&certificates.config());
        let database = server.database("tls").await;
        database
            .execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
            .await;
        Self {
            certificates,
            server,
            database,
        }
    }

    /// A project that reads from this server by these settings.
    fn project(&self, host: &str, settings: &str) -> Project {
        project(&self.server, &self.database, host, settings)
    }
}

fn project(server: &PostgresServer, database: &Database, host: &str, settings: &str) -> Project {
    let project = Project::new(&format!(
        "version: 1\nconnections:\n  source: {{ type: postgres, host: {host}, port: {}, user: \
         postgres, database: {}, {settings} }}\n  target: {{ url: \"sqlite:target.db\" }}\n",
        server.port(),
        database.name()
    ));
    project.pipeline(
        "p",
        "version: 1\nsource: source\ntarget: target\ntables:\n  public.t: { to: t }\n",
    );
    project
}

async fn test(project: &Project) -> Output {
    project.syncset(["connection", "test", "source"]).await
}

#[tokio::test]
async fn every_mode_of_encryption_works_and_is_named() {
    let lab = Lab::new().await;
    let authority = lab.certificates.authority();
    for (host, settings, encrypted) in [
        ("127.0.0.1", "sslmode: disable".to_owned(), false),
        ("127.0.0.1", "sslmode: prefer".to_owned(), true),
        ("127.0.0.1", "sslmode: require".to_owned(), true),
        (
            "127.0.0.1",
            format!("sslmode: verify-ca, sslrootcert: {authority}"),
            true,
        ),
        (
            "localhost",
            format!("sslmode: verify-full, sslrootcert: {authority}"),
            true,
        ),
    ] {
        let project = lab.project(host, &settings);

        let tested = test(&project).await.expect_success();

        let told = tested.stdout.contains(", encrypted");
        assert_eq!(told, encrypted, "{settings}: {}", tested.stdout);
        project
            .syncset(["pipeline", "run", "p"])
            .await
            .expect_success();
        let target = project.sqlite("target.db");
        assert_eq!(target.value("SELECT count(*) FROM t").await, "2");
    }
}

#[tokio::test]
async fn certificate_of_another_authority_is_refused() {
    let lab = Lab::new().await;
    let other = Certificates::make();
    for settings in [
        format!("sslmode: verify-ca, sslrootcert: {}", other.authority()),
        format!("sslmode: verify-full, sslrootcert: {}", other.authority()),
        "sslmode: verify-full".to_owned(),
    ] {
        let refused = test(&lab.project("localhost", &settings)).await;

        insta::allow_duplicates! {
            insta::assert_snapshot!(refused.snapshot(), @r"
            exit: 1
            stderr:
            error: cannot open `source`
            cause: the server of `source` at localhost:[port] shows a certificate that nobody we trust has signed
            hint: set `sslrootcert` to the file of the authority that signed it
            ");
        }
    }
}

#[tokio::test]
async fn certificate_of_another_host_is_refused() {
    let lab = Lab::new().await;
    let settings = format!(
        "sslmode: verify-full, sslrootcert: {}",
        lab.certificates.authority()
    );

    let refused = test(&lab.project("127.0.0.1", &settings)).await;

    insta::assert_snapshot!(refused.snapshot(), @r#"
    exit: 1
    stderr:
    error: cannot open `source`
    cause: the server of `source` at 127.0.0.1:[port] shows a certificate of another name
    hint: connect by a name that the certificate holds (certificate not valid for name "127.0.0.1"; certificate is only valid for DnsName("localhost")), or set `sslmode: verify-ca` to accept any name of the same authority
    "#);
}

#[tokio::test]
async fn server_without_encryption_is_refused_where_it_is_required() {
    let server = PostgresServer::start_own("ssl = off");
    let database = server.database("tls").await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let settings = format!("sslmode: {mode}");

        let refused = test(&project(&server, &database, "127.0.0.1", &settings)).await;

        let text = refused.snapshot().replace(mode, "[mode]");
        insta::allow_duplicates! {
            insta::assert_snapshot!(text, @r"
            exit: 2
            stderr:
            error: cannot open `source`
            cause: the server of `source` at 127.0.0.1:[port] does not encrypt its links, as `sslmode` asks for
            hint: set `ssl = on` at the server; `sslmode: prefer` goes on without
            ");
        }
    }
}

#[tokio::test]
async fn file_of_an_authority_that_is_not_there_is_named() {
    let lab = Lab::new().await;
    for content in [None, Some("no certificate")] {
        let settings = "sslmode: verify-full, sslrootcert: nowhere.pem";
        let project = lab.project("localhost", settings);
        if let Some(content) = content {
            project.file("nowhere.pem", content);
        }

        let refused = test(&project).await;

        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains("nowhere.pem"), "{}", refused.stderr);
    }
}
