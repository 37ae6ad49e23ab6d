/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of S3, read by libexpat. Inside node/offsite only.
 */
#ifndef SR_NODE_OFFSITE_S3_XML_H
#define SR_NODE_OFFSITE_S3_XML_H

#include "base/buf.h"
#include "base/err.h"

/* Longest text of an element that is of interest, with the 0: keys are at most 1,024 bytes. */
#define SR_S3_TEXT_MAX 2048

/* Called at the end of each element, in the order of the document: its name, the name of the one
 * around it ("" for the outermost), and its text, "" when there were elements in it. Valid during
 * the call. What it returns, other than SR_OK, ends the reading. */
typedef int (*sr_s3_element_cb)(void *arg, const char *parent, const char *name, const char *text,
                                struct sr_err *err);

/* SR_FORMAT: not well-formed, with a document type, deeper than 16 elements, a text that is too
 * long; or what @call says. */
int sr_s3_xml_read(struct sr_bytes document, sr_s3_element_cb call, void *arg, struct sr_err *err);

/* What an <Error> document says, "" when it is none; letters, digits and "-" only. The message is
 * left out: a server could repeat in it what it was sent. */
struct sr_s3_error {
    char code[64];
    char region[64]; /* where to ask instead */
};
void sr_s3_xml_error(struct sr_bytes document, struct sr_s3_error *ret);

#endif
