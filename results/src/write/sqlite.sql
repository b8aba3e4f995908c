-- The schema of `-o sqlite=FILE`; `results/SQLITE.md` explains it. Times are RFC 3339 texts in UTC, addresses texts.
CREATE TABLE scans (
    id         INTEGER PRIMARY KEY,
    outcome    TEXT NOT NULL CHECK (outcome IN ('running', 'complete', 'stopped', 'failed')),
    version    TEXT NOT NULL,
    started    TEXT NOT NULL,
    targets    INTEGER NOT NULL,
    hosts      INTEGER NOT NULL,
    elapsed_us INTEGER,
    error      TEXT,
    header     TEXT NOT NULL,
    summary    TEXT
);
CREATE TABLE coverage (
    scan  INTEGER NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    first TEXT NOT NULL,
    last  TEXT NOT NULL,
    ports TEXT NOT NULL
);
CREATE INDEX coverage_by_scan ON coverage (scan);
CREATE TABLE verdicts (
    scan       INTEGER NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    address    TEXT NOT NULL,
    port       INTEGER NOT NULL,
    protocol   TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'closed', 'filtered')),
    reason     TEXT NOT NULL,
    sender     TEXT,
    ttl        INTEGER,
    rtt_us     INTEGER,
    pass       INTEGER NOT NULL,
    probes     INTEGER NOT NULL,
    time       TEXT NOT NULL,
    supersedes TEXT,
    suspect    TEXT,
    PRIMARY KEY (scan, address, port, protocol)
) WITHOUT ROWID;
CREATE TABLE hosts (
    scan      INTEGER NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    address   TEXT NOT NULL,
    down      TEXT,
    suspect   TEXT,
    usual_ttl INTEGER,
    PRIMARY KEY (scan, address)
) WITHOUT ROWID;
CREATE TABLE warnings (
    scan    INTEGER NOT NULL REFERENCES scans (id) ON DELETE CASCADE,
    message TEXT NOT NULL
);
CREATE INDEX warnings_by_scan ON warnings (scan);
