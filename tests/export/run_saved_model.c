/* Runs a SavedModel on one batch of pictures through TensorFlow's C API, as programs that are not in Python do.
 *
 * run_saved_model EXPORT BATCH HEIGHT WIDTH PICTURES INPUT:INDEX [OUTPUT:INDEX FILE]...
 *
 * PICTURES holds uint8 (BATCH, HEIGHT, WIDTH, 3); the bytes of each output are written to the FILE after it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tensorflow/c/c_api.h>

#define MOST 8

static TF_Status* status;

static void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static TF_Output find(TF_Graph* graph, char* name) {
  char* index = strchr(name, ':');
  *index = 0;
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(index + 1)};
  if (!output.oper) fail(name);
  return output;
}

int main(int count, char** arguments) {
  status = TF_NewStatus();
  const char* tags[] = {"serve"};
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, arguments[1], tags, 1, graph, NULL, status);
  if (TF_GetCode(status) != TF_OK) fail("load");

  int64_t shape[] = {atoi(arguments[2]), atoi(arguments[3]), atoi(arguments[4]), 3};
  size_t size = shape[0] * shape[1] * shape[2] * shape[3];
  TF_Tensor* pictures = TF_AllocateTensor(TF_UINT8, shape, 4, size);
  FILE* file = fopen(arguments[5], "rb");
  if (!file || fread(TF_TensorData(pictures), 1, size, file) != size) fail("pictures");
  fclose(file);

  TF_Output input = find(graph, arguments[6]), outputs[MOST];
  TF_Tensor* found[MOST];
  int number = 0;
  for (int i = 7; i + 1 < count && number < MOST; i += 2) outputs[number++] = find(graph, arguments[i]);
  TF_SessionRun(session, NULL, &input, &pictures, 1, outputs, found, number, NULL, 0, NULL, status);
  if (TF_GetCode(status) != TF_OK) fail("run");
  for (int i = 0; i < number; i++) {
    file = fopen(arguments[8 + 2 * i], "wb");
    size = TF_TensorByteSize(found[i]);
    if (!file || fwrite(TF_TensorData(found[i]), 1, size, file) != size || fclose(file)) fail("write");
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  return 0;
}
