-- When the rows of cells arrived. A unit goes when its file is superseded; that its rows had arrived in time
-- is remembered here: they stood from `received_at` until `ended_at`. No personal data.
CREATE TABLE quality_arrival (
    file_id     bigint NOT NULL,
    month       date NOT NULL CHECK (extract(day FROM month) = 1),
    dataset     text COLLATE "C" NOT NULL,
    institution text COLLATE "C" NOT NULL,
    rows        bigint NOT NULL CHECK (rows >= 0),
    received_at timestamptz NOT NULL,
    ended_at    timestamptz,
    PRIMARY KEY (file_id, institution, month)
);
CREATE INDEX quality_arrival_cell ON quality_arrival (month, dataset, institution);
