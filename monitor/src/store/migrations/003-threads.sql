-- A channel that asked for time gets nothing before then.
CREATE TABLE pause (
    channel TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The incident as it was when somebody said something of it; none where an earlier version wrote it down.
ALTER TABLE said ADD COLUMN body TEXT;

-- What channels were told of, and not yet that it is over.
CREATE INDEX told_under_way ON told (channel, incident) WHERE is_over = 0;
