-- The moment from which time may have ended a place, which moves seldom: an index over it need not change with every refresh
-- (decision 0017). Of a place that no longer counts, the moment it was last refreshed.
ALTER TABLE holding ADD COLUMN due_from INTEGER;
UPDATE holding SET due_from = CASE occupies WHEN 1 THEN free_at ELSE refreshed_at END;
CREATE INDEX places_by_due ON holding (tenant_id, entitlement_id, due_from) WHERE occupies = 1;
CREATE INDEX places_by_last_refresh ON holding (due_from) WHERE occupies = 0;

-- Older code knows nothing of it: what it writes must not be looked at too late.
CREATE TRIGGER due_from_of_new AFTER INSERT ON holding
WHEN NEW.due_from IS NULL AND (NEW.free_at IS NOT NULL OR NEW.occupies = 0)
BEGIN
    UPDATE holding SET due_from = coalesce(NEW.free_at, NEW.refreshed_at)
    WHERE tenant_id = NEW.tenant_id AND activation_id = NEW.activation_id AND past = NEW.past;
END;
CREATE TRIGGER due_from_of_moved AFTER UPDATE OF free_at ON holding
WHEN NEW.free_at IS NOT NULL AND (NEW.due_from IS NULL OR NEW.due_from > NEW.free_at)
BEGIN
    UPDATE holding SET due_from = NEW.free_at
    WHERE tenant_id = NEW.tenant_id AND activation_id = NEW.activation_id AND past = NEW.past;
END;
