use super::*;

#[test]
fn a_configuration_is_plain_fields_and_unknown_ones_are_refused() {
    let config: S3Config = serde_json::from_str(r#"{"bucket": "bucket", "connections": 9}"#).unwrap();
    assert_eq!((config.connections, config.memory_bytes), (9, MEMORY_BYTES));
    let again: S3Config = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    for wrong in [r#"{"bucket": "bucket", "secret_access_key": "x"}"#, r#"{"prefix": "x"}"#] {
        assert!(serde_json::from_str::<S3Config>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_location_is_a_url_without_options() {
    let mut config = S3Config::new("bucket");
    assert_eq!(config.location(), "s3://bucket");
    config.prefix = "a/b".into();
    assert_eq!(config.location(), "s3://bucket/a/b");
}
