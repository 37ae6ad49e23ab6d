/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a staged image becomes a state: it gets the point, all is flushed and indexed, and what is
 * on disk by then is read as a node will read it.
 */
#include "storage/cluster_record.h"
#include "storage/image_writer_impl.h"
#include "storage/offsite_record.h"

int sr_image_writer_enter(struct sr_image_writer *writer, const struct sr_image_header *header,
                          struct sr_err *err)
{
    struct sr_store *store = writer->store;
    int64_t compacted = writer->point.state.compact_revision;
    int rc;

    if (store->apply.applied_index != 0) {
        return SR_OK;
    }
    rc = sr_cluster_import(store, header->record, err);
    if (rc == SR_OK) {
        rc = sr_offsite_import(store, header->offsite, header->offsite_secret, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    /* There is nothing superseded in an image. */
    store->compaction = (struct sr_compaction){.target = compacted, .cursor_rev = compacted + 1};
    store->apply = header->state;
    sr_store_publish(store, header->state.applied_index);
    return SR_OK;
}

/* Take over the point: the next flush makes it the state's. */
static int enter_point(struct sr_image_writer *writer, struct sr_err *err)
{
    struct sr_image_header header = writer->point;

    if (writer->rebirth != NULL) {
        sr_image_rebirth_header(writer->rebirth, writer->options.cluster_id, &header);
    }
    return sr_image_writer_enter(writer, &header, err);
}

int sr_image_writer_check_count(const struct sr_image_writer *writer, uint64_t versions,
                                struct sr_err *err)
{
    struct sr_lmdb *lmdb = &writer->store->lmdb;
    MDB_stat stat = {0};
    MDB_txn *txn;
    int rc;

    sr_lmdb_enter(lmdb);
    rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        return sr_lmdb_failed(rc, "count", err);
    }
    rc = mdb_stat(txn, lmdb->idx, &stat);
    mdb_txn_abort(txn);
    if (rc != 0) {
        return sr_lmdb_failed(rc, "count", err);
    }
    if (stat.ms_entries != versions) {
        return sr_err_set(err, SR_CORRUPT, "the index has %zu entries of %llu", stat.ms_entries,
                          (unsigned long long)versions);
    }
    return SR_OK;
}

/* Open what is on disk now, as the node will, and read all of it. */
static int verify(struct sr_image_writer *writer, struct sr_err *err)
{
    int rc;

    rc = sr_image_writer_reopen(writer, err);
    if (rc == SR_OK) {
        rc = sr_image_writer_check_count(writer, writer->position.versions, err);
    }
    return rc == SR_OK ? sr_image_verify(writer->store, writer->expected, err) : rc;
}

int sr_image_writer_finish(struct sr_image_writer *writer, struct sr_err *err)
{
    struct sr_store *store = writer->store;
    int rc;

    if (writer->failed || store == NULL) {
        return sr_err_set(err, SR_CLOSED, "stage an image: it has failed before");
    }
    if (writer->position.revision != SR_IMAGE_END) {
        return sr_err_set(err, SR_AGAIN, "stage an image: chunks are missing");
    }
    rc = sr_image_writer_flush(writer, false, err); /* one that found no space */
    if (rc == SR_OK) {
        rc = enter_point(writer, err);
    }
    if (rc == SR_OK) {
        rc = sr_image_writer_flush(writer, true, err);
    }
    if (rc == SR_OK) {
        rc = sr_store_index_rest(store, err);
    }
    if (rc == SR_NO_SPACE) {
        return sr_err_prefix(err, "stage an image");
    }
    if (rc == SR_OK) {
        rc = verify(writer, err);
    }
    writer->failed = rc != SR_OK;
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "stage an image");
}
