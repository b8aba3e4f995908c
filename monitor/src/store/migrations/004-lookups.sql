-- What each scan asks for is found by what it is about, however much else there is.

ALTER TABLE incident ADD COLUMN watched_group TEXT GENERATED ALWAYS AS (json_extract(body, '$.group')) VIRTUAL;
ALTER TABLE incident ADD COLUMN about TEXT GENERATED ALWAYS AS (json_extract(body, '$.trigger')) VIRTUAL;
CREATE INDEX incident_open_about ON incident (watched_group, about) WHERE is_open = 1;

-- What was ever open is asked for whenever a port opens.
CREATE INDEX run_open ON run (host, first, last, state) WHERE state = 0;
